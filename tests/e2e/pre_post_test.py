#!/usr/bin/env python3
"""`--pre` and `--post`: what a person has done around a dump, and that it is undone in every case."""

import os
import shlex
import signal
import time

import images
from cli import Diskdump
from fixture import Scenario, cases, wait_until
from sshd import Sshd, noise_wrapper


class Around(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.source = images.write(self.path("image"), images.bytes_of(5, 700_000))
        self.diary = self.path("diary")
        os.close(os.open(self.diary, os.O_CREAT | os.O_WRONLY, 0o666))
        os.chmod(self.diary, 0o666)

    def note(self, word):
        """A command that writes a line into the diary."""
        return (f'echo "{word} $DISKDUMP_HOST $DISKDUMP_PATH $DISKDUMP_NAME ${{DISKDUMP_STATUS-none}} '
                f'$(id -un)" >> {shlex.quote(self.diary)}')

    def noted(self):
        with open(self.diary, encoding="utf-8") as diary:
            return [line.split() for line in diary]

    def words(self):
        return [line[0] for line in self.noted()]

    def forget(self):
        with open(self.diary, "w", encoding="utf-8"):
            pass

    @property
    def target(self):
        return f"target:{self.source}"


class PrePost(Around):
    def test_both_run_once_around_the_dump_and_know_the_target(self):
        sshd = Sshd(self)
        for number, transport in enumerate(("libssh2", "openssh")):
            with self.subTest(transport=transport):
                self.forget()
                # The dump sees what pre did.
                change = f"cp {shlex.quote(self.source)} {shlex.quote(self.path('snapshot'))}"
                snapshot = f"target:{self.path('snapshot')}"
                remove = f"rm {shlex.quote(self.path('snapshot'))}"
                self.diskdump.dump(*sshd.arguments, "--transport", transport, snapshot,
                                   "--as", f"name{number}", "--pre", f"{self.note('pre')}; {change}",
                                   "--post", f"{remove}; {self.note('post')}")
                user = sshd.user
                where = ["target", self.path("snapshot"), f"name{number}"]
                self.assertEqual(self.noted(), [["pre", *where, "none", user],
                                                ["post", *where, "ok", user]])
                self.assertFalse(os.path.exists(self.path("snapshot")))
                self.diskdump.restore(f"name{number}", self.path("restored"))
                self.assert_same_content(self.source, self.path("restored"))
                os.unlink(self.path("restored"))
        self.assert_nothing_left()

    def test_on_this_machine(self):
        self.diskdump.dump(f"localhost:{self.source}", "--pre", self.note("pre"),
                           "--post", self.note("post"))
        self.assertEqual(self.words(), ["pre", "post"])

    def test_before_the_first_target_they_are_for_all_that_have_none(self):
        sshd = Sshd(self)
        other = images.write(self.path("other"), b"other")
        self.diskdump.dump(*sshd.arguments, "--pre", self.note("all"), "--post", self.note("end"),
                           self.target, f"target:{other}", "--pre", self.note("own"))
        by_path = {}
        for word, _, path, *_ in self.noted():
            by_path.setdefault(path, []).append(word)
        self.assertEqual(by_path, {self.source: ["all", "end"], other: ["own", "end"]})

    def test_a_failing_pre_is_the_targets_failure_and_post_runs(self):
        sshd = Sshd(self)
        done = self.diskdump.dump(*sshd.arguments, self.target, "--as", "image",
                                  "--pre", "echo no space for the snapshot; exit 3",
                                  "--post", self.note("post"), expect=1)
        self.assertRegex(done.target["error"], "--pre: it ended with status 3: no space for the "
                                               "snapshot")
        self.assertEqual([line[0:1] + line[4:5] for line in self.noted()], [["post", "failed"]])
        self.assertEqual(self.manifests(), [])

    def test_post_does_not_wait_for_targets_that_have_not_begun(self):
        paths = [images.write(self.path(f"image{i}"), b"%d" % i) for i in range(6)]
        self.diskdump.dump(*Sshd(self).arguments, "-j", "1", "--pre", self.note("pre"),
                           "--post", self.note("post"), *[f"target:{path}" for path in paths])
        # A snapshot is held as long as its own dump takes.
        self.assertEqual(self.words(), ["pre", "post"] * len(paths))
        noted = self.noted()
        for begun, ended in zip(noted[::2], noted[1::2]):
            self.assertEqual(begun[2], ended[2])

    def test_a_failing_pre_is_no_other_targets_failure(self):
        other = images.write(self.path("other"), b"other")
        done = self.diskdump.dump(*Sshd(self).arguments, "-j", "1", "--pre",
                                  f"test $DISKDUMP_PATH = {other}", f"{self.target}:{other}", expect=1)
        self.assertEqual({e["target"]: e["status"] for e in done.targets},
                         {self.target: "failed", f"target:{other}": "ok"})

    def test_a_failing_post_is_told_although_the_manifest_is_there(self):
        sshd = Sshd(self)
        done = self.diskdump.dump(*sshd.arguments, self.target, "--as", "image",
                                  "--post", "echo busy >&2; false", expect=1)
        self.assertEqual(done.target["status"], "failed")
        self.assertRegex(done.target["error"], "--post: it ended with status 1: busy")
        self.assertEqual(len(self.manifests()), 1)
        self.diskdump.restore("image", self.path("restored"))
        self.assert_same_content(self.source, self.path("restored"))

    def test_post_runs_after_a_dump_that_failed(self):
        sshd = Sshd(self)
        done = self.diskdump.dump(*sshd.arguments, "target:/nowhere", "--pre", self.note("pre"),
                                  "--post", self.note("post"), expect=1)
        self.assertIn("/nowhere", done.target["error"])
        self.assertEqual([(line[0], line[4]) for line in self.noted()],
                         [("pre", "none"), ("post", "failed")])

    def test_post_does_not_run_where_the_machine_was_never_reached(self):
        sshd = Sshd(self)
        sshd.write("authorized_keys", "")
        self.diskdump.dump(*sshd.arguments, self.target, "--pre", self.note("pre"),
                           "--post", self.note("post"), expect=1)
        self.assertEqual(self.words(), [])

    def test_output_is_shown_with_the_target_and_made_harmless(self):
        sshd = Sshd(self, wrapper=noise_wrapper(self))
        done = self.diskdump.dump(*sshd.arguments, self.target,
                                  "--pre", "printf 'one\\n'; printf 'tw\\033[2Jo' >&2",
                                  "--post", "echo three; cat")
        label = f"target:{self.source}"
        self.assertIn(f"{label}: pre: one\n", done.stderr)
        self.assertIn(f"{label}: pre: tw\\x1b[2Jo\n", done.stderr)
        self.assertIn(f"{label}: post: three\n", done.stderr)
        self.assertNotIn("\x1b", done.stderr)
        quiet = self.diskdump.dump("-q", *sshd.arguments, self.target, "--pre", "echo one")
        self.assertNotIn("one", quiet.stderr)

    def test_a_command_is_one_shell_program_whatever_is_in_it(self):
        sshd = Sshd(self)
        marks = "it's a \\ \"test\" $HOME `id -un` ! * ;"
        program = f"cat > {shlex.quote(self.diary)} <<'END'\n{marks}\nEND\n"
        self.diskdump.dump(*sshd.arguments, self.target, "--pre", program)
        with open(self.diary, encoding="utf-8") as diary:
            self.assertEqual(diary.read(), marks + "\n")

    def test_what_a_command_leaves_running_is_not_waited_for(self):
        sshd = Sshd(self)
        began = time.monotonic()
        self.diskdump.dump(*sshd.arguments, self.target, "--pre", "sleep 40 & echo $! > "
                           + shlex.quote(self.diary))
        self.assertLess(time.monotonic() - began, 30)
        with open(self.diary, encoding="ascii") as diary:
            os.kill(int(diary.read()), signal.SIGKILL)

    def test_wrong_usage(self):
        for words in (["--pre", "", self.target], [self.target, "--post", " "],
                      [self.target, "--pre"], [self.target, "--pre", "x" * 20000]):
            self.diskdump.dump(*words, expect=2)


class Ends(Around):
    """In the middle of a dump that takes a while."""

    def setUp(self):
        super().setUp()
        self.source = images.random_image(32 * images.MIB)
        self.sshd = Sshd(self)

    def start(self, *options, post=None):
        process = self.diskdump.start("dump", *self.sshd.arguments, "--read-limit", "2M", *options,
                                      self.target, "--as", "image", "--pre", self.note("pre"),
                                      "--post", post or self.note("post"))

        def some_are_stored():
            return sum(name.endswith(".lz4") for _, _, names in os.walk(self.store)
                       for name in names) > 5

        self.assertTrue(wait_until(some_are_stored, 60))
        self.assertEqual(self.words(), ["pre"])
        return process

    def assert_undone(self):
        self.assertEqual([(line[0], line[4]) for line in self.noted()],
                         [("pre", "none"), ("post", "failed")])
        self.assertEqual(self.manifests(), [])

    def test_post_runs_when_interrupted(self):
        for transport in ("libssh2", "openssh"):
            with self.subTest(transport=transport):
                self.forget()
                process = self.start("--transport", transport)
                process.send_signal(signal.SIGINT)
                self.diskdump.finish(process, expect=130)
                self.assert_undone()
                self.store = self.path("store-of-" + transport)
                os.mkdir(self.store)
        self.assert_nothing_left()

    def test_a_second_interrupt_waits_neither_for_post_nor_for_the_dump(self):
        # It ends with the folder of the scenario.
        endless = f"while [ -e {shlex.quote(self.diary)} ]; do sleep 0.2; done"
        for moment in ("in post", "at once"):
            with self.subTest(moment=moment):
                self.forget()
                process = self.start(post=f"{self.note('begun')}; {endless}")
                process.send_signal(signal.SIGINT)
                if moment == "in post":
                    self.assertTrue(wait_until(lambda: "begun" in self.words(), 30))
                else:
                    # Two that come before it has looked are one.
                    while b"interrupted" not in process.stderr.readline():
                        pass
                self.assertIsNone(process.poll())
                began = time.monotonic()
                process.send_signal(signal.SIGINT)
                self.diskdump.finish(process, expect=130, timeout=60)
                self.assertLess(time.monotonic() - began, 5)
                self.assertEqual(self.manifests(), [])
                self.store = self.path("store-of-" + moment)
                os.mkdir(self.store)

    def test_post_runs_over_a_new_connection_when_the_first_was_lost(self):
        for transport in ("libssh2", "openssh"):
            with self.subTest(transport=transport):
                self.forget()
                process = self.start("--transport", transport, "--retries", "0")
                self.sshd.kill_sessions()
                self.diskdump.finish(process, expect=1)
                self.assert_undone()
                self.store = self.path("store-of-" + transport)
                os.mkdir(self.store)

    def test_they_run_once_around_all_attempts(self):
        process = self.start()
        self.sshd.kill_sessions()
        done = self.diskdump.finish(process, expect=0)
        self.assertEqual(done.target["attempts"], 2)
        self.assertEqual([(line[0], line[4]) for line in self.noted()],
                         [("pre", "none"), ("post", "ok")])

    def test_an_interrupted_pre_is_waited_for_before_post_undoes_it(self):
        program = f"sleep 3; {self.note('pre')}"
        process = self.diskdump.start("dump", *self.sshd.arguments, self.target, "--as", "image",
                                      "--pre", f"echo begun >&2; {program}",
                                      "--post", self.note("post"))
        self.assertTrue(wait_until(lambda: self.sshd.agents(), 30))
        while b"begun" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        self.diskdump.finish(process, expect=130)
        self.assert_undone()


class WithSudo(Around):
    def test_they_run_as_root_where_the_target_has_sudo(self):
        user = self.user(sudo="nopasswd")
        sshd = Sshd(self, user=user.name)
        os.chmod(self.source, 0o400)
        self.diskdump.dump(*sshd.arguments, self.target, "--sudo", "--pre", self.note("pre"),
                           "--post", self.note("post"))
        self.assertEqual([(line[0], line[5]) for line in self.noted()],
                         [("pre", "root"), ("post", "root")])
        self.forget()
        os.chmod(self.source, 0o444)
        self.diskdump.dump(*sshd.arguments, self.target, "--pre", self.note("pre"))
        self.assertEqual([(line[0], line[5]) for line in self.noted()], [("pre", user.name)])

    def test_a_sudo_that_refuses_is_the_targets_failure(self):
        user = self.user(sudo="password")
        sshd = Sshd(self, user=user.name)
        done = self.diskdump.dump(*sshd.arguments, self.target, "--sudo", "--pre",
                                  self.note("pre"), expect=1)
        self.assertRegex(done.target["error"], "--pre: .*password is required")
        self.assertEqual(self.words(), [])


if __name__ == "__main__":
    cases.main()
