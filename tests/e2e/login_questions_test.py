#!/usr/bin/env python3
"""Logins that ask a person: the passphrase of a key, and whatever a server asks."""

import os
import shutil
import unittest

import images
import terminal
from cli import TIMEOUT_S, Diskdump
from fixture import LONG, Scenario, cases, run, tool
from sshd import Sshd

BY_LIBSSH2 = "connected by ssh (libssh2)"


class Questions(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.source = images.write(self.path("image"), images.bytes_of(3, 3 * images.BLOCK + 77))

    def assert_restores(self, name):
        self.diskdump.restore(name, self.path("restored"))
        self.assert_same_content(self.source, self.path("restored"))
        os.unlink(self.path("restored"))


class Passphrase(Questions):
    NAMES = ["one", "two", "three", "four"]

    def setUp(self):
        super().setUp()
        self.sshd = Sshd(self)
        self.passphrase = "open sesame " + os.urandom(4).hex()
        run(tool("ssh-keygen"), "-q", "-p", "-P", "", "-N", self.passphrase, "-f", self.sshd.key)
        with open(self.sshd.client_config, encoding="utf-8") as config:
            text = config.read()
        self.sshd.write("ssh_config", text.replace(f"Host {self.sshd.host}",
                                                   "Host " + " ".join(self.NAMES)))

    def dump(self, *answers, expect=0):
        targets = [word for name in self.NAMES
                   for word in (f"{name}:{self.source}", "--as", name)]
        return terminal.run(self.diskdump, *self.sshd.arguments, "--transport", "libssh2", *targets,
                            question=b"Enter passphrase", answers=answers, expect=expect)

    def test_a_fleet_is_asked_once_for_a_key(self):
        done, shown = self.dump(self.passphrase)
        self.assertEqual([t["status"] for t in done.targets], ["ok"] * len(self.NAMES))
        self.assertEqual(shown.count(b"Enter passphrase"), 1)
        self.assertNotIn(self.passphrase, done.text + shown.decode(errors="replace"))
        self.assert_restores("four")
        self.assert_nothing_left()

    def test_openssh_asks_by_itself(self):
        done, shown = terminal.run(self.diskdump, *self.sshd.arguments, "--transport", "openssh",
                                   f"one:{self.source}", "--as", "one", question=b"Enter passphrase",
                                   answers=[self.passphrase], expect=0)
        self.assertEqual(done.target["status"], "ok")
        self.assertEqual(shown.count(b"Enter passphrase"), 1)
        self.assert_nothing_left()

    def test_who_declines_is_not_asked_for_each_machine(self):
        done, shown = self.dump("", expect=1)
        self.assertEqual([t["status"] for t in done.targets], ["failed"] * len(self.NAMES))
        self.assertEqual(shown.count(b"Enter passphrase"), 1)
        self.assertIn("needs a passphrase", done.error)

    def test_a_mistyped_one_is_asked_for_again(self):
        done, shown = self.dump("no", self.passphrase)
        self.assertEqual([t["status"] for t in done.targets], ["ok"] * len(self.NAMES))
        # Whoever took the wrong one meanwhile asks no more once the right one is known.
        self.assertEqual(shown.count(b"Enter passphrase"), 2)

    def each_with_its_key(self):
        """As many keys as there are machines, so that a person is asked for each of them."""
        with open(self.sshd.client_config, encoding="utf-8") as config:
            text = config.read()
        for name in self.NAMES:
            for suffix in ("", ".pub"):
                shutil.copy(self.sshd.key + suffix, self.path("key-" + name + suffix))
        line = f"  IdentityFile {self.sshd.key}\n"
        self.assertIn(line, text)
        self.sshd.write("ssh_config", text.replace(line, f"  IdentityFile {self.path('key-%n')}\n"))

    def test_each_key_is_asked_for_also_where_few_connections_wait_for_a_person(self):
        self.each_with_its_key()
        done, shown = self.dump(self.passphrase)
        self.assertEqual([t["status"] for t in done.targets], ["ok"] * len(self.NAMES), done.text)
        self.assertEqual(shown.count(b"Enter passphrase"), len(self.NAMES))
        self.assert_nothing_left()

    def test_after_ctrl_c_nobody_is_asked_what_had_not_been_asked_yet(self):
        self.each_with_its_key()
        done, shown = self.dump(terminal.CTRL_C, expect=130)
        self.assertEqual(shown.count(b"Enter passphrase"), 1, shown)
        self.assertIn("interrupted", done.text)
        self.assert_nothing_left()


class KeyboardInteractive(Questions):
    def setUp(self):
        super().setUp()
        self.person = self.user(sudo="known")
        if not os.path.exists("/etc/pam.d/sshd"):
            self.skipTest("sshd has no PAM configuration here")
        self.sshd = Sshd(self, user=self.person.name,
                         options=["UsePAM yes", "KbdInteractiveAuthentication yes",
                                  "AuthenticationMethods keyboard-interactive"])

    def dump(self, *answers, expect=0, timeout=TIMEOUT_S):
        return terminal.run(self.diskdump, *self.sshd.arguments, "--transport", "libssh2",
                            "--retries", "0", f"target:{self.source}", "--as", "image",
                            question=b"assword: ", answers=answers, expect=expect, timeout=timeout)

    def test_the_answer_lets_in(self):
        done, shown = self.dump(self.person.password)
        self.assertEqual(done.target["status"], "ok")
        self.assertIn(BY_LIBSSH2, done.stderr)
        self.assertIn(f"{self.person.name}@127.0.0.1: ".encode(), shown)
        self.assertNotIn(self.person.password, done.text + shown.decode(errors="replace"))
        self.assert_restores("image")
        self.assert_nothing_left()

    def test_a_wrong_answer_is_refused_three_times_at_most(self):
        done, shown = self.dump("no", expect=1)
        self.assertLessEqual(shown.count(b"assword: "), 3)
        self.assertIn("keyboard-interactive: refused", done.error)
        self.assert_nothing_left()

    @unittest.skipUnless(LONG, "waits for two minutes")
    def test_a_server_that_says_nothing_more_is_given_up(self):
        relay = self.sshd.relayed()

        def answer_to_nobody():
            relay.held.clear()
            return self.person.password

        done, _ = self.dump(answer_to_nobody, expect=1, timeout=2 * TIMEOUT_S)
        self.assertIn("does not answer the authentication", done.error)


if __name__ == "__main__":
    cases.main()
