#!/usr/bin/env python3
"""A target that was taken over: whatever its agent says ends that target with a clear error, and only
that one; the store still holds nothing but blocks that are what their names say."""

import hashlib
import os
import resource
import shutil
import unittest

import images
import store_check
from cli import Diskdump
from fixture import (cases, HERE, IS_ROOT, LONG, SANITIZED, Scenario, mount, unmount)
from hostile_agent import BLOCKS, MODES
from sshd import Sshd, hostile_wrapper

SCRIPT = os.path.join(HERE, "hostile_agent.py")
# The error that each mode deserves, as a pattern: sentences of the protocol, which nothing else says.
CONTENT = "does not have the announced digest"
RANGE = "a block index or range is not within the image or not the next one"
NOT_ASKED = "a block or an answer came that was not asked for"
LENGTH = "a frame is longer than its kind allows"
PARSE = "a message does not parse"
KIND = "a frame is of a kind that may not come from there"
BOMB = "decodes to more bytes than the block has"
EARLY = "the transfer ended before everything was sent"
TOTALS = "the totals at the end differ from what was announced"
ERRORS = {
    "wrong_digest": CONTENT,
    "wrong_digest_zlib": CONTENT,
    "index_out_of_range": RANGE + ": BLOCK",
    "digests_out_of_range": RANGE + ": DIGESTS: 32 blocks",
    "digests_not_next": RANGE + ": DIGESTS: block 4 instead of 0",
    "expected_nothing": NOT_ASKED + ": DIGESTS",
    "expected_beyond": RANGE + ": DIGESTS: 17 blocks",
    "expected_huge": PARSE + ": DIGESTS",
    "known_twice": RANGE + ": DIGESTS: block 0 instead of 8",
    "known_beyond": RANGE + ": DIGESTS: 9 blocks from 8",
    "known_other_digest": TOTALS,
    "known_sent": NOT_ASKED + ": BLOCK",
    "not_asked": NOT_ASKED + ": BLOCK",
    "twice": NOT_ASKED + ": BLOCK",
    "oversized_frame": LENGTH + ": BLOCK of 4294967295 bytes",
    "oversized_note": LENGTH + ": NOTE of 100000000 bytes",
    "zlib_bomb": BOMB,
    "lz4_bomb": BOMB,
    "raw_length": PARSE + ": BLOCK: 262144 bytes in a block",
    "early_end": EARLY + ": END",
    "end_at_once": EARLY + ": END after 0",
    "early_exit": EARLY + ": the stream ended",
    "exit_in_frame": EARLY + ": the stream ended",
    "wrong_totals": TOTALS,
    "endless_notes": "more notes or bad ranges came than are allowed: more than 1000 notes",
    "endless_bad_ranges": RANGE + ": BAD_RANGE",
    "window": "more blocks are announced than the batch has slots",
    "escapes": r"the other end gave up: .*\\x1b\[31mabort",
    "unknown_kind": KIND + ": kind 42",
    "server_kind": KIND + ": kind 68",
    "malformed": PARSE + ": DIGESTS: cut off",
    "other_version": "the agent speaks another protocol version: version 77",
    "other_agent": "the agent that answered is not the one that was sent",
    "no_hello": "the agent did not report: more than 65536 bytes",
    "garbage": KIND,
    "huge_image": PARSE + ": SOURCE: an image of",
}
# Only time ends these; the limit is a minute.
SLOW = {"silence", "holes", "other_things"}
# The server expects something only where the target was dumped before.
KNOWN = {m for m in MODES if m.startswith("known_")}
# Of any child: diskdump, sshd, this script's helpers. A bomb that was unpacked takes more.
RSS_MAX_BYTES = 96 << 20


class Hostile(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.image = images.write(self.path("image"), images.bytes_of(1, 1_000_001))
        # The store already holds something that a hostile target must not be able to touch.
        self.diskdump.dump(f"localhost:{self.image}", "--as", "before")
        self.before = self.manifests()

    def attack(self, mode, *options):
        sshd = Sshd(self, wrapper=hostile_wrapper(SCRIPT, mode))
        # One attempt: a target that breaks off is tried again, which is not what is asked here.
        done = self.diskdump.dump("--retries", "0", *options, "--agent", "native", *sshd.arguments,
                                  "target:/dev/sda", "--as", "bad", f"localhost:{self.image}",
                                  "--as", "good-" + mode, expect=None)
        return sshd, done

    def test_the_honest_mode_of_the_script_is_a_good_dump(self):
        _, done = self.attack("honest")
        self.assertEqual([e["status"] for e in done.targets], ["ok", "ok"], done.text)
        self.diskdump.restore("bad", self.path("restored"))
        self.assertEqual(os.path.getsize(self.path("restored")), 16 * images.BLOCK)

    def test_each_mode_ends_its_target_and_no_other(self):
        modes = [m for m in MODES if m not in SLOW | KNOWN and m != "honest"]
        for mode in modes:
            with self.subTest(mode=mode):
                sshd, done = self.attack(mode)
                status = {e["name"]: e["status"] for e in done.targets}
                self.assertEqual(status, {"bad": "failed", "good-" + mode: "ok"}, done.text)
                self.assertEqual(done.status, 1)
                told = next(e["error"] for e in done.targets if e["name"] == "bad")
                self.assertRegex(told, ERRORS[mode], f"{mode}: {told}")
                self.assertNotIn("Traceback", told)
                self.assertIn("target", told)
                for text in (told, done.stderr):
                    self.assertNotIn("\x1b", text, "an escape sequence reaches the terminal")
                    self.assertNotIn("\nfake", text, "a line is forged")
                self.assertFalse([m for m in self.manifests() if "/bad." in m], "a manifest appeared")
                self.assertEqual(store_check.check(self.store), [])
                sshd.stop()
        self.diskdump.restore("before", self.path("restored"))
        self.assert_same_content(self.image, self.path("restored"))
        self.assert_nothing_left()
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        if not SANITIZED:
            self.assertLess(peak, RSS_MAX_BYTES, "a hostile agent made a process grow")

    def test_what_the_server_expects_is_no_way_in(self):
        self.attack("honest")
        _, done = self.attack("known_honest")
        bad = next(e for e in done.targets if e["name"] == "bad")
        self.assertEqual((bad["status"], bad["blocks_reused"]), ("ok", 16), done.text)
        before = [m for m in self.manifests() if "/bad." in m]
        self.assertEqual(len(before), 2)
        for mode in KNOWN - {"known_honest"}:
            with self.subTest(mode=mode):
                sshd, done = self.attack(mode)
                told = {e["name"]: e for e in done.targets}
                self.assertEqual(told["bad"]["status"], "failed", done.text)
                self.assertEqual(told["good-" + mode]["status"], "ok", done.text)
                self.assertRegex(told["bad"]["error"], ERRORS[mode])
                self.assertEqual([m for m in self.manifests() if "/bad." in m], before)
                sshd.stop()
        self.assertEqual(store_check.check(self.store), [])
        self.diskdump.restore("bad", self.path("restored"))
        self.assertEqual(os.path.getsize(self.path("restored")), 16 * images.BLOCK)

    def test_silence_is_not_waited_for_without_end(self):
        _, done = self.attack("silence", "--timeout", "3")
        self.assertEqual(done.status, 1)
        self.assertRegex(done.error, "(?i)silen|time|seconds")

    @unittest.skipUnless(IS_ROOT, "mounts a small file system for the store, which only root may")
    def test_manifests_of_huge_disks_leave_the_others_room_to_end(self):
        shutil.rmtree(self.store)
        os.makedirs(self.store)
        mount("tmpfs", self.store, "tmpfs", 0, "size=80m")
        self.addCleanup(unmount, self.store)
        sshd = Sshd(self, wrapper=hostile_wrapper(SCRIPT, "holes"))
        names = ["one", "two", "three", "four"]
        with open(sshd.client_config, encoding="utf-8") as config:
            text = config.read()
        sshd.write("ssh_config", text.replace(f"Host {sshd.host}", "Host " + " ".join(names)))
        bad = [word for name in names for word in (name + ":/dev/sda", "--as", "bad-" + name)]
        # All of them have written what they can when the honest one begins.
        done = self.diskdump.dump("--retries", "0", "--timeout", "10", "--agent", "native",
                                  *sshd.arguments, *bad, f"localhost:{self.image}", "--as", "good",
                                  "--pre", "sleep 5", expect=1)
        ends = {e["name"]: e for e in done.targets}
        self.assertEqual(ends["good"]["status"], "ok", done.text)
        told = [ends["bad-" + name]["error"] for name in names]
        given_up = [error for error in told if "bytes already" in error]
        self.assertTrue(0 < len(given_up) < len(names), told)
        for error in given_up:
            self.assertRegex(error, "(one|two|three|four): /dev/sda: .*no room for a manifest.* bytes free")
        self.diskdump.restore("good", self.path("restored"))
        self.assert_same_content(self.image, self.path("restored"))

    @unittest.skipUnless(LONG, "waits for most of a minute (DISKDUMP_TEST_LONG=1)")
    def test_who_sends_other_things_than_what_it_owes_holds_nobody_up(self):
        sshd = Sshd(self, wrapper=hostile_wrapper(SCRIPT, "other_things"))
        # What it owes is all that the other one has, who comes once it was asked for that.
        same = images.write(self.path("same"), b"".join(
            hashlib.sha256(b"%d" % i).digest() * (images.BLOCK // 32) for i in range(BLOCKS)))
        done = self.diskdump.dump("--retries", "0", "--agent", "native", *sshd.arguments,
                                  "target:/dev/sda", "--as", "bad", f"localhost:{same}", "--as",
                                  "good", "--pre", "sleep 3", expect=1)
        ends = [(e["name"], e["status"]) for e in done.targets]
        self.assertEqual(ends, [("good", "ok"), ("bad", "failed")], done.text)
        self.assertRegex(done.error, ERRORS["early_exit"])


if __name__ == "__main__":
    cases.main()
