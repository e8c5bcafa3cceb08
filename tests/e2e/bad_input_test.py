#!/usr/bin/env python3
"""Bad input: each gets a clear error and the right exit status; nothing is lost, nothing is left."""

import os
import re
import socket
import stat
import subprocess
import unittest

import images
import store_check
from cli import Diskdump
from fixture import (IS_ROOT, MS_BIND, MS_RDONLY, MS_REMOUNT, Scenario, cases, loop_device, mount,
                     run, tool, unmount, wait_until)
from sshd import Sshd

FAILED, USAGE = 1, 2


class BadInput(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.image = images.write(self.path("image"), images.bytes_of(1, 700_001))

    def fails(self, *arguments, status=FAILED, words=(), manifests=0):
        """The dump fails; its error has all of `words`; no manifest appears and nothing is left."""
        done = self.diskdump.dump(*arguments, expect=status)
        for word in words:
            self.assertRegex(done.error, word)
        self.assertEqual(len(self.manifests()), manifests)
        for event in done.targets:
            self.assertEqual(event["status"], "failed")
            self.assertTrue(event["error"])
        self.assert_store_is_tidy()
        return done


class Connecting(BadInput):
    def test_an_unknown_host(self):
        self.fails("-F", "none", f"no-such-host.invalid:{self.image}", words=["no-such-host.invalid"])
        self.assert_nothing_left()

    def test_a_refused_connection(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            self.fails("-F", "none", "-p", port, f"127.0.0.1:{self.image}",
                       words=["127.0.0.1", "(?i)refused"])

    def test_a_server_that_speaks_no_ssh(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            command = self.diskdump.start("dump", "-F", "none", "-p", port, f"127.0.0.1:{self.image}")
            server.settimeout(30)
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
            done = self.diskdump.finish(command, expect=FAILED)
        self.assertIn("127.0.0.1", done.error)

    def test_a_wrong_user(self):
        sshd = Sshd(self)
        self.fails(*sshd.arguments, "-u", "nobody-here", f"target:{self.image}",
                   words=["target", "(?i)authenti|permission denied|refused", "nobody-here"])

    def test_no_key_that_the_server_takes(self):
        sshd = Sshd(self)
        sshd.write("authorized_keys", "")
        for transport in ("libssh2", "openssh", "auto"):
            with self.subTest(transport=transport):
                self.fails(*sshd.arguments, "--transport", transport, f"target:{self.image}",
                           words=["target", "(?i)authenti|permission denied"])

    def test_a_key_file_that_is_not_there(self):
        sshd = Sshd(self)
        sshd.key = self.path("no-such-key")
        sshd.write_client_config()
        self.fails(*sshd.arguments, f"target:{self.image}", words=["target"])

    def test_an_unknown_host_key_is_refused_with_fingerprint_and_remedy(self):
        sshd = Sshd(self)
        sshd.write_client_config(known=False)
        done = self.fails(*sshd.arguments, "--transport", "libssh2", f"target:{self.image}",
                          words=[re.escape(sshd.fingerprint()), "accept-new-host-keys|known_hosts"])
        self.assertIn("target", done.error)
        with open(sshd.path("known_hosts"), encoding="ascii") as known:
            self.assertEqual(known.read(), "")
        self.fails(*sshd.arguments, "--transport", "openssh", f"target:{self.image}",
                   words=["(?i)host key", re.escape(sshd.fingerprint()), "accept-new-host-keys"])

    def test_a_new_host_key_is_taken_where_that_was_allowed(self):
        sshd = Sshd(self)
        sshd.write_client_config(known=False)
        self.diskdump.dump("--accept-new-host-keys", *sshd.arguments, f"target:{self.image}")
        with open(sshd.path("known_hosts"), encoding="ascii") as known:
            self.assertIn(str(sshd.port), known.read())
        self.diskdump.dump(*sshd.arguments, f"target:{self.image}")

    def test_a_changed_host_key_is_refused_with_fingerprint_and_remedy(self):
        sshd = Sshd(self)
        other = Sshd(self, start=False)
        with open(other.path("host_key.pub"), encoding="ascii") as public:
            kind, blob = public.read().split()[:2]
        sshd.write("known_hosts", f"[127.0.0.1]:{sshd.port} {kind} {blob}\n")
        for options in ([], ["--accept-new-host-keys"]):
            with self.subTest(options=options):
                self.fails(*options, *sshd.arguments, "--transport", "libssh2",
                           f"target:{self.image}",
                           words=[re.escape(sshd.fingerprint()), "ssh-keygen -R|known_hosts",
                                  "(?i)changed|differs|another"])
        with open(sshd.path("known_hosts"), encoding="ascii") as known:
            self.assertIn(blob, known.read())
        self.fails(*sshd.arguments, "--transport", "openssh", f"target:{self.image}",
                   words=["(?i)host key", re.escape(sshd.fingerprint()), "ssh-keygen -R target"])

    def test_a_configuration_that_is_not_there(self):
        self.fails("-F", self.path("no-such-config"), f"target:{self.image}", words=["no-such-config"])


class Sources(BadInput):
    def setUp(self):
        super().setUp()
        self.sshd = Sshd(self)

    def both_agents(self, target, words, **options):
        for agent in ("native", "python"):
            with self.subTest(agent=agent):
                self.fails(*self.sshd.arguments, "--agent", agent, target, words=words, **options)
        self.assert_nothing_left_but_sshd()

    def assert_nothing_left_but_sshd(self):
        left = wait_until(lambda: not self.sshd.agents()) or self.sshd.agents()
        self.assertTrue(left is True, left)

    def test_a_path_that_is_not_there(self):
        path = self.path("no-such-file")
        self.both_agents(f"target:{path}", ["target", re.escape(path), "(?i)no such file"])

    def test_a_directory(self):
        self.both_agents(f"target:{self.folder}", ["target", re.escape(self.folder), "(?i)director"])

    def test_a_character_device_and_a_fifo(self):
        self.both_agents("target:/dev/zero", ["target", "/dev/zero"])
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        self.both_agents(f"target:{fifo}", ["target", "fifo"])

    def test_no_permission(self):
        if IS_ROOT:
            user = self.user()
            self.sshd = Sshd(self, user=user.name)
        os.chmod(self.image, 0)
        self.both_agents(f"target:{self.image}", ["target", re.escape(self.image),
                                                  "(?i)permission denied"])

    def test_sudo_that_asks_for_a_password(self):
        user = self.user(sudo="password")
        self.sshd = Sshd(self, user=user.name)
        for agent in ("native", "python"):
            with self.subTest(agent=agent):
                self.fails(*self.sshd.arguments, "--agent", agent, f"target:{self.image}", "--sudo",
                           words=["target", "sudo", "(?i)password"])
        self.assert_nothing_left_but_sshd()

    def test_a_user_who_may_not_sudo(self):
        user = self.user()
        tool("sudo")
        self.sshd = Sshd(self, user=user.name)
        self.fails(*self.sshd.arguments, f"target:{self.image}", "--sudo", words=["target", "sudo"])

    def test_an_account_that_may_log_in_but_run_nothing(self):
        self.sshd = Sshd(self, wrapper="echo 'This account is currently not available.' >&2\nexit 1\n")
        self.fails(*self.sshd.arguments, f"target:{self.image}", words=["target"])

    def test_a_source_that_shrinks_while_it_is_read(self):
        source = images.write(self.path("shrinks"), images.bytes_of(2, 40 * images.MIB))
        # Slow enough that most of it is still to be read when its first blocks are stored.
        command = self.diskdump.start("dump", "--read-limit", "8M", *self.sshd.arguments,
                                      f"target:{source}")
        self.assertTrue(wait_until(lambda: any(name.endswith(".lz4") for _, _, names in
                                               os.walk(self.store) for name in names)))
        os.truncate(source, 100_000)
        done = self.diskdump.finish(command)
        self.assertEqual(done.status, FAILED)
        self.assertRegex(done.error, r"(?i)offset \d+")
        self.assertEqual(self.manifests(), [])


    def test_a_disk_with_sectors_that_cannot_be_read(self):
        """The end of a loop device's file is cut off, and the device keeps its size."""
        readable, size = 5 * images.MIB, 5 * images.MIB + 200 * 1024
        content = images.bytes_of(3, size)
        backing = images.write(self.path("backing"), content)
        device = loop_device(self, backing)
        os.truncate(backing, readable)
        run(tool("blockdev"), "--flushbufs", device)
        with open(device, "rb") as opened:
            try:
                os.pread(opened.fileno(), 512, readable)
                self.skipTest("here a loop device reads zeros behind the end of its file")
            except OSError:
                pass
        self.both_agents(f"target:{device}", ["target", re.escape(device), f"{readable}"])
        expected = images.write(self.path("expected"), content[:readable] + bytes(size - readable))
        for agent in ("native", "python"):
            with self.subTest(agent=agent):
                done = self.diskdump.dump(*self.sshd.arguments, "--agent", agent,
                                          "--skip-bad-sectors", f"target:{device}", "--as", agent)
                self.assertEqual(done.target["bytes_bad"], size - readable)
                with open(os.path.join(self.store, done.target["manifest"]), "rb") as manifest:
                    ranges = [line for line in manifest.read().splitlines() if b"bad_range" in line]
                self.assertEqual(ranges, [b"# bad_range: %d %d" % (readable, size - readable)])
                self.diskdump.restore(agent, self.path("restored-" + agent))
                self.assert_same_content(expected, self.path("restored-" + agent))


class NoPlace(BadInput):
    """Every folder that may hold the agent is unfit: the Python agent takes over, or it is said."""

    def sshd_without_place(self, python):
        """Sessions get a mount namespace of their own, in which no writable folder executes."""
        if not IS_ROOT:
            self.skipTest("a session with no place for a program takes root to set up")
        unshare = tool("unshare")
        if run(unshare, "--mount", "true", check=False).returncode != 0:
            self.skipTest("mount namespaces are not allowed here")
        mounts = "\n".join(
            f"mount -t tmpfs -o noexec,mode=1777 none {where} 2>/dev/null"
            for where in ("/var/tmp", "/dev/shm", "/run/user"))
        inner = self.path("inner.sh")
        # /tmp holds the scenario itself, so it is remounted in place instead of being covered.
        images.write(inner, (
            "#!/bin/sh\n" + mounts + "\n"
            "mount --bind /tmp /tmp && mount -o remount,bind,noexec /tmp\n"
            "mount --bind /root /root && mount -o remount,bind,noexec /root\n"
            + ("" if python else "mount --bind /bin/false /usr/bin/python3 2>/dev/null\n"
               "for p in $(command -v -a python3 2>/dev/null || which -a python3); do "
               "mount --bind /bin/false \"$p\"; done\n") +
            'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n').encode())
        os.chmod(inner, 0o755)
        return Sshd(self, wrapper=f"exec {unshare} --mount sh {inner}\n")

    def test_python_takes_over_where_nothing_may_execute(self):
        sshd = self.sshd_without_place(python=True)
        done = self.diskdump.dump(*sshd.arguments, f"target:{self.image}", "--as", "image")
        self.assertEqual(done.target["engine"], "python")
        self.diskdump.restore("image", self.path("restored"))
        self.assert_same_content(self.image, self.path("restored"))

    def test_the_native_agent_alone_has_no_place(self):
        sshd = self.sshd_without_place(python=True)
        self.fails(*sshd.arguments, "--agent", "native", f"target:{self.image}",
                   words=["target", "(?i)agent", "/var/tmp|/dev/shm|/tmp"])

    def test_without_python_it_is_said_what_is_missing(self):
        sshd = self.sshd_without_place(python=False)
        self.fails(*sshd.arguments, f"target:{self.image}",
                   words=["target", "(?i)agent", "python3", "/var/tmp|/dev/shm|/tmp"])

    def test_a_cache_folder_that_others_may_write_is_not_trusted(self):
        sshd = Sshd(self)
        os.makedirs(os.path.join(sshd.cache, "diskdump"))
        os.chmod(os.path.join(sshd.cache, "diskdump"), 0o777)
        self.diskdump.dump(*sshd.arguments, f"target:{self.image}")
        inside = [n for _, _, names in os.walk(os.path.join(sshd.cache, "diskdump")) for n in names]
        mode = os.stat(os.path.join(sshd.cache, "diskdump")).st_mode
        # Either another place was taken, or the folder was made private before it was used.
        self.assertTrue(not inside or mode & 0o022 == 0, (inside, stat.filemode(mode)))

    def test_an_agent_file_that_is_damaged_is_replaced(self):
        sshd = Sshd(self)
        self.diskdump.dump(*sshd.arguments, f"target:{self.image}")
        deployed = [os.path.join(w, n) for w, _, names in os.walk(sshd.cache) for n in names]
        self.assertEqual(len(deployed), 1)
        with open(deployed[0], "rb") as agent:
            good = agent.read()
        for content in (b"", good[:len(good) // 2], b"no program"):
            with self.subTest(length=len(content)):
                os.unlink(deployed[0])
                images.write(deployed[0], content)
                os.chmod(deployed[0], 0o500)
                self.diskdump.dump(*sshd.arguments, "--agent", "native", f"target:{self.image}")
                with open(deployed[0], "rb") as agent:
                    self.assertEqual(agent.read(), good)


class Stores(BadInput):
    def dump_local(self, *arguments, **options):
        return self.diskdump.dump(f"localhost:{self.image}", *arguments, **options)

    def test_a_full_file_system(self):
        if not IS_ROOT:
            self.skipTest("a small file system takes root to mount")
        mount("none", self.store, "tmpfs", 0, "size=4m")
        self.addCleanup(unmount, self.store)
        self.dump_local("--as", "fits")
        big = images.write(self.path("big"), images.bytes_of(2, 12 * images.MIB))
        done = self.diskdump.dump(f"localhost:{big}", "--as", "big", expect=FAILED)
        self.assertRegex(done.error, "(?i)no space left")
        self.assertIn(self.store, done.error)
        self.assertEqual(len(self.manifests()), 1)
        self.assertEqual(store_check.check(self.store), [])
        self.assert_store_is_tidy()
        self.diskdump.restore("fits", self.path("restored"))
        self.assert_same_content(self.image, self.path("restored"))

    def test_a_limit_on_the_size_of_files(self):
        def limited(kib):
            # Units of 512 bytes, as POSIX has it.
            return Diskdump(self, prefix=["sh", "-c", f'ulimit -f {2 * kib}; exec "$@"', "sh"])

        done = limited(64).dump(f"localhost:{self.image}", "--as", "image", expect=FAILED)
        self.assertRegex(done.error, "(?i)file too large")
        self.assertIn(self.store, done.error)
        self.assertEqual(self.manifests(), [])
        self.assert_store_is_tidy()
        self.dump_local("--as", "image")
        out = self.path("restored")
        done = limited(64).restore("image", out, expect=FAILED)
        self.assertRegex(done.error, "(?i)file too large")
        self.assertIn(self.path(".restored."), done.error)
        self.assertEqual([n for n in os.listdir(self.folder) if "restored" in n], [])
        with open(self.path("piped"), "wb") as pipe:
            command = limited(64).command("restore", "image", json_events=False)
            piped = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, env=self.diskdump.env,
                                   check=False)
        self.assertEqual(piped.returncode, FAILED)
        self.assertRegex(piped.stderr.decode(), "(?i)file too large")

    def test_a_read_only_store(self):
        self.dump_local("--as", "before")
        if IS_ROOT:
            mount(self.store, self.store, "", MS_BIND)
            self.addCleanup(unmount, self.store)
            mount("none", self.store, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
        else:
            for where, _, _ in os.walk(self.store):
                os.chmod(where, 0o555)
                self.addCleanup(os.chmod, where, 0o755)
        other = images.write(self.path("other"), images.bytes_of(5, 400_000))
        done = self.diskdump.dump(f"localhost:{other}", expect=FAILED)
        self.assertRegex(done.error, "(?i)read-only|permission denied")
        self.assertIn(self.store, done.error)
        # What is in it is still there to be read.
        self.diskdump.restore("before", self.path("restored"))
        self.assert_same_content(self.image, self.path("restored"))
        self.diskdump.run("list")

    def test_a_store_that_is_not_there(self):
        self.store = self.path("no", "such", "folder")
        done = self.dump_local(expect=None)
        self.assertIn(done.status, (FAILED, USAGE))
        self.assertIn(self.store, done.error)

    def test_restoring_from_what_is_no_store(self):
        done = self.diskdump.run("restore", "anything", "-o", self.path("out"), expect=FAILED)
        self.assertIn(self.store, done.error)
        self.assertFalse(os.path.exists(self.path("out")))

    def damage(self, change):
        """Dumps; changes one block file by `change(content)`; gives its digest."""
        self.dump_local("--as", "image")
        name, path = sorted(store_check.block_files(self.store).items())[2]
        with open(path, "rb") as block:
            content = block.read()
        os.chmod(path, 0o600)
        changed = change(content)
        if changed is None:
            os.unlink(path)
        else:
            images.write(path, changed)
        return name

    def test_a_damaged_block_at_restore(self):
        damages = {
            "flipped": lambda c: c[:len(c) // 2] + bytes([c[len(c) // 2] ^ 1]) + c[len(c) // 2 + 1:],
            "cut": lambda c: c[:len(c) // 2],
            "empty": lambda c: b"",
            "text": lambda c: b"this is no frame",
            "gone": lambda c: None,
        }
        for kind, change in damages.items():
            with self.subTest(damage=kind):
                self.store = self.path("store-" + kind)
                os.mkdir(self.store)
                name = self.damage(change)
                out = self.path("out-" + kind)
                done = self.diskdump.run("restore", "image", "-o", out, expect=FAILED)
                self.assertIn(name, done.error)
                self.assertFalse(os.path.exists(out), "a half-written image stands under its name")
                self.assertEqual([n for n in os.listdir(self.folder) if n.startswith("out-" + kind) or
                                  n.startswith(".out-" + kind)], [])
                done = self.diskdump.run("restore", "image", json_events=False, expect=FAILED)
                self.assertLess(len(done.stdout), os.path.getsize(self.image))

    def test_a_manifest_that_is_damaged(self):
        self.dump_local("--as", "image")
        path = os.path.join(self.store, self.manifests()[0])
        with open(path, encoding="utf-8") as manifest:
            good = manifest.read()
        os.chmod(path, 0o600)
        for kind, text in {"cut": good[:-100], "digit": good[:-2] + "g\n", "extra": good + "0" * 64 + "\n",
                           "empty": "", "size": re.sub("total_size: .*", "total_size: -1", good),
                           "huge": re.sub("total_size: .*", "total_size: 99999999999999999999", good),
                           "block": re.sub("block_size: .*", "block_size: 0", good)}.items():
            with self.subTest(damage=kind):
                images.write(path, text.encode())
                done = self.diskdump.run("restore", "image", "-o", self.path("out"), expect=FAILED)
                self.assertIn("image.manifest", done.error)
                self.assertFalse(os.path.exists(self.path("out")))

    def test_restore_onto_a_mounted_device(self):
        self.dump_local("--as", "image")
        image = self.path("mounted.img")
        with open(image, "wb") as out:
            out.truncate(16 * images.MIB)
        run(tool("mkfs.ext4"), "-q", "-F", image)
        device = loop_device(self, image, read_only=False)
        where = self.path("mnt")
        os.mkdir(where)
        mount(device, where, "ext4")
        self.addCleanup(unmount, where)
        with open(image, "rb") as file:
            before = file.read()
        done = self.diskdump.run("restore", "image", "-o", device, expect=None)
        self.assertIn(done.status, (FAILED, USAGE))
        self.assertRegex(done.error, "(?i)mounted|busy")
        self.assertIn(device, done.error)
        unmount(where)
        with open(image, "rb") as file:
            after = file.read()
        # The superblock counts mounts; the data behind it is as it was.
        self.assertEqual(before[8192:], after[8192:])

    def test_restore_onto_a_device_that_is_too_small(self):
        self.dump_local("--as", "image")
        device = loop_device(self, images.write(self.path("small"), bytes(65536)), read_only=False)
        done = self.diskdump.run("restore", "image", "-o", device, expect=FAILED)
        self.assertIn(device, done.error)
        with open(self.path("small"), "rb") as small:
            self.assertEqual(small.read(), bytes(65536))

    def test_restore_to_a_folder_that_is_not_there(self):
        self.dump_local("--as", "image")
        done = self.diskdump.run("restore", "image", "-o", self.path("no", "folder"), expect=FAILED)
        self.assertIn(self.path("no"), done.error)

    def test_restore_of_what_is_not_there(self):
        self.dump_local("--as", "image")
        done = self.diskdump.run("restore", "imag", "-o", self.path("out"), expect=FAILED)
        self.assertIn("image", done.error)
        self.assertFalse(os.path.exists(self.path("out")))


if __name__ == "__main__":
    cases.main()
