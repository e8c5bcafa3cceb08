#!/usr/bin/env python3
"""The same dump in other surroundings: another agent, transport, codec, login, and a kernel that
refuses io_uring."""

import os
import shlex
import time

import images
import store_check
from cli import Diskdump
from fixture import cases, HERE, TRIMMED, Scenario, descendants, loop_device, run
from sshd import Sshd, noise_wrapper

REFUSE_URING = os.path.join(HERE, "refuse_uring.py")
ASK_URING = os.path.join(HERE, "ask_uring.py")


class Surroundings(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.small = images.small(self.folder)
        self.small["sparse"] = images.sparse(self.path("sparse"), 64 * images.MIB)
        self.small["mixed"] = images.write(
            self.path("mixed"), b"".join(images.bytes_of(n, 50_000) + b"text " * 20_000 + bytes(90_000)
                                         for n in range(30)))

    def check(self, sshd, *options, paths=None, target="target", per_target=(), engine=None):
        """Dumps the images in one run, with these options; restores and compares each. `engine` is
        what the agent must have read with; none: the native one, whichever way."""
        paths = paths or list(self.small.values())
        targets = []
        for number, path in enumerate(paths):
            targets += [f"{target}:{path}", *per_target, "--as", f"image{number}"]
        where = sshd.arguments if sshd else []
        done = self.diskdump.dump(*where, *options, *targets)
        self.assertEqual([e["status"] for e in done.targets], ["ok"] * len(paths))
        engines = {e["engine"] for e in done.targets}
        if engine or "python" in options:
            self.assertEqual(engines, {engine or "python"})
        else:
            self.assertLessEqual(engines, {"io_uring", "pread"})
        for number, path in enumerate(paths):
            restored = self.path("restored")
            self.diskdump.restore(f"image{number}", restored)
            self.assert_same_content(path, restored)
            os.unlink(restored)
        again = self.diskdump.dump(*where, *options, *targets)
        self.assertEqual(sum(e["blocks_stored"] for e in again.targets), 0)
        self.assertEqual(store_check.check(self.store, sample=40), [])
        return done

    def ext4(self):
        return images.ext4(48)

    def everything(self):
        return list(self.small.values()) + [self.ext4()]


class SameWith(Surroundings):
    def test_this_machine_without_ssh(self):
        self.check(None, target="localhost", paths=self.everything())
        self.assert_nothing_left()

    def test_the_python_agent(self):
        self.check(Sshd(self), "--agent", "python", paths=self.everything(), engine="python")
        self.assert_nothing_left()

    def test_the_python_agent_on_this_machine(self):
        self.check(None, "--agent", "python", target="localhost")
        self.assert_nothing_left()

    def test_the_openssh_transport(self):
        self.check(Sshd(self), "--transport", "openssh", paths=self.everything())
        self.assert_nothing_left()

    def test_the_openssh_transport_with_the_python_agent(self):
        self.check(Sshd(self), "--transport", "openssh", "--agent", "python")

    def test_no_sftp_subsystem(self):
        for transport in ("libssh2", "openssh"):
            with self.subTest(transport=transport):
                self.check(Sshd(self, sftp=False), "--transport", transport)
        self.assert_nothing_left()

    def test_new_keys_after_each_mebibyte(self):
        for transport in ("libssh2", "openssh"):
            with self.subTest(transport=transport):
                self.store = self.path("store-" + transport)
                os.mkdir(self.store)
                self.check(Sshd(self, options=["RekeyLimit 1M"]), "--transport", transport,
                           paths=[self.ext4()])

    def test_login_scripts_that_print_binary_noise(self):
        for agent in ("native", "python"):
            with self.subTest(agent=agent):
                sshd = Sshd(self, wrapper=noise_wrapper(self))
                self.check(sshd, "--agent", agent, "--transport", "libssh2",
                           paths=[self.small["mixed"], self.small["one-batch"]])
        self.assert_nothing_left()

    def test_login_noise_over_the_openssh_transport(self):
        self.check(Sshd(self, wrapper=noise_wrapper(self)), "--transport", "openssh",
                   paths=[self.small["mixed"]])

    def test_each_codec_of_the_wire(self):
        sent = {}
        for wire in ("lz4", "zlib", "none", "auto"):
            for agent in ("native",) if TRIMMED else ("native", "python"):
                with self.subTest(wire=wire, agent=agent):
                    self.store = self.path(f"store-{wire}-{agent}")
                    os.mkdir(self.store)
                    done = self.check(Sshd(self), "--wire", wire, "--agent", agent,
                                      paths=[self.small["mixed"]])
                    sent[wire, agent] = done.target["bytes_wire"]
        size = os.path.getsize(self.small["mixed"])
        for agent in {agent for _, agent in sent}:
            self.assertGreater(sent["none", agent], size * 0.9)
            self.assertLess(sent["lz4", agent], sent["none", agent] * 0.8)
            self.assertLess(sent["zlib", agent], sent["none", agent] * 0.8)

    def test_a_slow_link_gets_the_codec_that_it_needs(self):
        # Digits of random bytes: nothing for lz4, a bit more than half for zlib.
        image = images.write(self.path("digits"), images.bytes_of(7, 20_000_000).hex().encode())
        done = self.check(Sshd(self), "--wire-limit", "4M", paths=[image])
        self.assertLess(done.target["bytes_wire"], os.path.getsize(image) * 0.88)
        self.assertGreater(done.target["bytes_wire"], os.path.getsize(image) * 0.5)

    def test_io_uring_refused_on_the_target(self):
        for number in ("EPERM", "ENOSYS"):
            with self.subTest(errno=number):
                wrapper = (f'exec python3 {shlex.quote(REFUSE_URING)} {number} '
                           '/bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
                self.check(Sshd(self, wrapper=wrapper), "--agent", "native",
                           paths=self.everything(), engine="pread")

    def test_io_uring_refused_on_this_machine(self):
        self.diskdump.prefix = ["python3", REFUSE_URING, "EPERM"]
        self.check(None, target="localhost", paths=self.everything(), engine="pread")

    def test_other_ciphers_and_key_types(self):
        variants = [
            dict(options=["Ciphers aes256-ctr", "MACs hmac-sha2-512"]),
            dict(host_key="ecdsa", user_key="ecdsa"),
            dict(options=["Ciphers aes128-gcm@openssh.com"]),
            dict(options=["Ciphers chacha20-poly1305@openssh.com"]),
            dict(user_key="rsa"),
            dict(host_key="rsa"),
        ]
        for variant in variants:
            # What libssh2 lacks, --transport auto leaves to ssh.
            with self.subTest(**variant):
                self.check(Sshd(self, **variant), paths=[self.small["partial-last-block"]])


class Engine(Surroundings):
    """What the native agent reads with is what the system allows: asked by a call of our own in the
    same surroundings, and seen in the agent's open files while it reads."""

    def rings_while_reading(self, process, pids):
        """Whether an agent that has the image open had a ring: all answers until the dump's end."""
        seen = set()
        while process.poll() is None:
            for pid in pids():
                folder = f"/proc/{pid}/fd"
                try:
                    files = {os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)}
                except OSError:  # ended, or another one's
                    continue
                if self.small["mixed"] in files:
                    seen.add("anon_inode:[io_uring]" in files)
            time.sleep(0.01)
        return seen

    def assert_engine(self, answer, *arguments, pids):
        process = self.diskdump.start("dump", "--agent", "native", *arguments)
        seen = self.rings_while_reading(process, lambda: pids(process))
        told = self.diskdump.finish(process, expect=0).target["engine"]
        self.assertEqual(told, "io_uring" if answer == "0" else "pread", f"asked: {answer}")
        self.assertTrue(seen, "the agent was not met while it read")
        # Between the opening of the image and that of the ring there is a moment.
        self.assertEqual(True in seen, told == "io_uring")

    def conditions(self):
        """(the error that is made, or none; the command that makes it)"""
        yield None, []
        for number in ("EPERM", "ENOSYS"):
            yield number, ["python3", REFUSE_URING, number]

    def check_answer(self, made, answer):
        if made:
            self.assertEqual(answer, made)
        elif answer != "0":
            print(f"io_uring is refused on this machine: {answer}")

    def test_over_ssh(self):
        for made, prefix in self.conditions():
            with self.subTest(made=made):
                log = self.path(f"asked-{made}")
                inner = (f'python3 {shlex.quote(ASK_URING)} >> {log}; '
                         'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')
                sshd = Sshd(self, wrapper=f"exec {shlex.join([*prefix, '/bin/sh', '-c', inner])}\n")
                # Slow enough to be met.
                arguments = [*sshd.arguments, "--read-limit", "3M", f"target:{self.small['mixed']}"]
                # The answer of the session that the agent runs in is the same as that of the first.
                self.diskdump.dump(*sshd.arguments, f"target:{self.small['one-byte']}")
                with open(log, encoding="ascii") as lines:
                    answers = set(lines.read().split())
                self.assertEqual(len(answers), 1, answers)
                self.check_answer(made, *answers)
                self.assert_engine(*answers, *arguments, pids=lambda _: sshd.agents())

    def test_on_this_machine(self):
        for made, prefix in self.conditions():
            with self.subTest(made=made):
                answer = run(*prefix, "python3", ASK_URING).stdout.decode().strip()
                self.check_answer(made, answer)
                self.diskdump.prefix = prefix
                self.assert_engine(answer, "--read-limit", "3M", f"localhost:{self.small['mixed']}",
                                   pids=lambda process: descendants(process.pid))

    def test_a_ring_that_cannot_be_made_although_io_uring_works(self):
        prefix = ["python3", REFUSE_URING, "small"]
        if run(*prefix, "python3", ASK_URING).stdout.decode().strip() != "0":
            self.skipTest("io_uring is refused on this machine")
        self.diskdump.prefix = prefix
        process = self.diskdump.start("dump", "--agent", "native", "--read-limit", "3M",
                                      f"localhost:{self.small['mixed']}", "--as", "image")
        seen = self.rings_while_reading(process, lambda: descendants(process.pid))
        self.assertEqual(self.diskdump.finish(process, expect=0).target["engine"], "pread")
        self.assertEqual(seen, {False})
        self.diskdump.restore("image", self.path("restored"))
        self.assert_same_content(self.small["mixed"], self.path("restored"))


class Users(Surroundings):
    def grant(self, user, paths):
        for path in paths:
            os.chown(path, user.uid, -1)

    def test_an_ordinary_user(self):
        user = self.user()
        paths = [self.small["mixed"], self.small["partial-last-block"]]
        self.grant(user, paths)
        for path in paths:
            os.chmod(path, 0o400)
        self.check(Sshd(self, user=user.name), paths=paths)
        self.assert_nothing_left()

    def test_an_ordinary_user_with_the_python_agent(self):
        user = self.user()
        self.grant(user, [self.small["mixed"]])
        self.check(Sshd(self, user=user.name), "--agent", "python", paths=[self.small["mixed"]])

    def test_a_user_with_sudo_reads_what_only_root_may(self):
        user = self.user(sudo="nopasswd")
        secret = self.small["mixed"]
        os.chmod(secret, 0o400)
        image = images.write(self.path("backing"), images.bytes_of(3, 5 * images.MIB))
        device = loop_device(self, image)
        sshd = Sshd(self, user=user.name)
        done = self.diskdump.dump(*sshd.arguments, f"target:{secret}", "--as", "without", expect=1)
        self.assertEqual(done.target["status"], "failed")
        for agent in ("native", "python"):
            for transport in ("libssh2", "openssh"):
                with self.subTest(agent=agent, transport=transport):
                    self.check(sshd, "--agent", agent, "--transport", transport,
                               paths=[secret, device], per_target=["--sudo"])
        self.assert_nothing_left()

    def assert_same_content(self, one, other):
        if one.startswith("/dev/"):
            one = self.path("backing")
        super().assert_same_content(one, other)


if __name__ == "__main__":
    cases.main()
