#!/usr/bin/env python3
"""`--ask-sudo-password`: asked once on the terminal, given to sudo over stdin, seen by nobody else."""

import os
import signal
import termios
import threading
import time

import images
import terminal
from cli import Diskdump
from fixture import Scenario, all_pids, cases, read_proc, wait_until
from sshd import Sshd

INTERRUPTED = 130
QUESTION = b"[sudo] password for the targets: "


class Spy(threading.Thread):
    """Looks for a text in all command lines and environments while it runs."""

    def __init__(self, text):
        super().__init__(daemon=True)
        self.text = text.encode()
        self.seen = set()
        self.looks = 0
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.wait(0.005):
            for pid in all_pids():
                for name in ("cmdline", "environ"):
                    if self.text in read_proc(pid, name):
                        self.seen.add(read_proc(pid, "cmdline"))
            self.looks += 1


class SudoPassword(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.person = self.user(sudo="known")
        self.sshd = Sshd(self, user=self.person.name)
        self.sources = []
        for number in range(3):
            path = images.write(self.path(f"image{number}"), images.bytes_of(number, 700_000))
            os.chmod(path, 0o400)  # root's
            self.sources.append(path)

    def targets(self):
        words = []
        for number, path in enumerate(self.sources):
            words += [f"target:{path}", "--sudo", "--as", f"image{number}"]
        return words

    def run_on_terminal(self, *arguments, answer, expect):
        return terminal.run(self.diskdump, *self.sshd.arguments, *arguments, question=QUESTION,
                            answers=[answer], expect=expect)

    def test_a_terminal_that_is_left_in_the_middle_of_the_question_has_its_echo_back(self):
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        echoes = lambda: bool(termios.tcgetattr(slave)[3] & termios.ECHO)
        self.assertTrue(echoes())
        process = terminal.start(self.diskdump, slave, *self.sshd.arguments,
                                 "--ask-sudo-password", *self.targets())
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertTrue(wait_until(lambda: not echoes()))
        process.send_signal(signal.SIGINT)
        said = process.stderr.readline()
        while said and b"once more ends at once" not in said:
            said = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(20), INTERRUPTED)
        self.assertTrue(echoes())

    def test_the_right_password_is_asked_for_once_and_seen_by_nobody(self):
        for agent in ("native", "python"):
            for transport in ("libssh2", "openssh"):
                with self.subTest(agent=agent, transport=transport):
                    spy = Spy(self.person.password)
                    spy.start()
                    done, shown = self.run_on_terminal(
                        "--ask-sudo-password", "--agent", agent, "--transport", transport,
                        *self.targets(), answer=self.person.password, expect=0)
                    spy.stopped.set()
                    spy.join()
                    self.assertEqual([t["status"] for t in done.targets], ["ok"] * 3)
                    self.assertEqual(shown.count(QUESTION), 1)
                    self.assertGreater(spy.looks, 3)
                    self.assertEqual(spy.seen, set())
                    for text in (shown.decode(errors="replace"), done.text, self.sshd.log_text()):
                        self.assertNotIn(self.person.password, text)
                    for number, path in enumerate(self.sources):
                        self.diskdump.restore(f"image{number}", self.path("restored"))
                        self.assert_same_content(path, self.path("restored"))
                        os.unlink(self.path("restored"))
        self.assert_nothing_left()

    def test_commands_around_the_dump_get_it_too(self):
        for command in ("pre", "post"):
            with self.subTest(command=command):
                note = self.path(command)
                done, shown = self.run_on_terminal(
                    "--ask-sudo-password", "--" + command, f"id -un > {note}; cat; env",
                    *self.targets()[:4], answer=self.person.password, expect=0)
                self.assertEqual(shown.count(QUESTION), 1)
                self.assertNotIn(self.person.password, done.text)
                with open(note, encoding="ascii") as out:
                    self.assertEqual(out.read(), "root\n")
        self.assert_nothing_left()

    def test_a_wrong_password_is_told_at_once_and_tried_once(self):
        with open("/proc/sys/kernel/random/uuid", encoding="ascii") as random:
            wrong = random.read().strip()
        for agent in ("native", "python"):
            with self.subTest(agent=agent):
                before = self.sshd.log_text().count("Starting session: command")
                began = time.monotonic()
                done, shown = self.run_on_terminal("--ask-sudo-password", "--agent", agent,
                                                   *self.targets(), answer=wrong, expect=1)
                self.assertLess(time.monotonic() - began, 30)
                self.assertEqual(shown.count(QUESTION), 1)
                self.assertEqual([t["status"] for t in done.targets], ["failed"] * 3)
                for target in done.targets:
                    self.assertIn("sudo does not take the password", target["error"])
                    self.assertIn("1 incorrect password attempt", target["error"])
                    self.assertNotIn("-ask", target["error"])
                self.assertNotIn(wrong, done.text)
                # One command, for all three paths.
                started = self.sshd.log_text().count("Starting session: command")
                self.assertEqual(started - before, 1)
        self.assert_nothing_left()

    def test_a_sudo_that_wants_none_gets_none(self):
        other = self.user(sudo="nopasswd")
        self.sshd = Sshd(self, user=other.name)
        for agent in ("native", "python"):
            with self.subTest(agent=agent):
                done, _ = self.run_on_terminal("--ask-sudo-password", "--agent", agent,
                                               *self.targets(), answer="not needed", expect=0)
                self.assertEqual([t["status"] for t in done.targets], ["ok"] * 3)
                self.assertNotIn("not needed", done.text)
        self.assert_nothing_left()

    def test_without_the_flag_sudo_asks_nobody(self):
        done = self.diskdump.dump(*self.sshd.arguments, *self.targets(), expect=1)
        self.assertIn("--ask-sudo-password", done.error)

    def test_without_a_terminal_it_is_an_error(self):
        done = self.diskdump.dump(*self.sshd.arguments, "--ask-sudo-password", *self.targets(),
                                  expect=1)
        self.assertIn("no terminal", done.text)
        self.assertEqual(done.targets, [])
        self.assertEqual(done.summary["ok"], 0)
        self.assertEqual(done.summary["failed"], done.summary["targets"])

    def test_without_a_target_with_sudo_it_is_wrong_usage(self):
        done = self.diskdump.dump(*self.sshd.arguments, "--ask-sudo-password",
                                  f"target:{self.sources[0]}", expect=2)
        self.assertIn("--sudo", done.error)


if __name__ == "__main__":
    cases.main()
