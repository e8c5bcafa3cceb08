#!/usr/bin/env python3
"""A target that was taken over: whatever its agent says ends that target with a clear error, and only
that one; the store still holds nothing but blocks that are what their names say."""

import os
import resource

import images
import store_check
from cli import Diskdump
from fixture import cases, HERE, SANITIZED, Scenario
from hostile_agent import MODES
from sshd import Sshd, hostile_wrapper

SCRIPT = os.path.join(HERE, "hostile_agent.py")
# The error that each mode deserves, as a pattern. Modes that are not here must just fail.
ERRORS = {
    "wrong_digest": "(?i)digest|content",
    "wrong_digest_zlib": "(?i)digest|content",
    "index_out_of_range": "(?i)range|not asked|index",
    "digests_out_of_range": "(?i)range|index",
    "digests_not_next": "(?i)range|next|index",
    "expected_nothing": "(?i)not asked|expected",
    "expected_beyond": "(?i)range|index",
    "expected_huge": "(?i)parse",
    "known_twice": "(?i)next|range|instead",
    "known_beyond": "(?i)range|index",
    "known_other_digest": "(?i)differ",
    "known_sent": "(?i)not asked",
    "not_asked": "(?i)not (needed|asked)|asked for",
    "twice": "(?i)not (needed|asked)|asked for|before",
    "oversized_frame": "(?i)frame|length|bound|long",
    "oversized_note": "(?i)frame|length|bound|long",
    "zlib_bomb": "(?i)decode|decompress|more bytes|damaged|long",
    "lz4_bomb": "(?i)decode|decompress|more bytes|damaged|long",
    "early_end": "(?i)end|before",
    "end_at_once": "(?i)end|before",
    "early_exit": "(?i)end|before|lost",
    "exit_in_frame": "(?i)end|before|lost",
    "wrong_totals": "(?i)differ|total|count",
    "endless_notes": "(?i)notes|more",
    "endless_bad_ranges": "(?i)bad.range|more",
    "window": "(?i)slots|batch|window|more",
    "unknown_kind": "(?i)kind",
    "server_kind": "(?i)kind|order",
    "other_version": "(?i)version",
    "other_agent": "(?i)agent",
    "no_hello": "(?i)hello|noise",
    "huge_image": "(?i)bytes",
}
# Only time ends these; the limit is a minute.
SLOW = {"silence"}
# The server expects something only where the target was dumped before.
KNOWN = {m for m in MODES if m.startswith("known_")}
RSS_MAX_BYTES = 200 << 20


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
                self.assertRegex(told, ERRORS.get(mode, "."), f"{mode}: {told}")
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


if __name__ == "__main__":
    cases.main()
