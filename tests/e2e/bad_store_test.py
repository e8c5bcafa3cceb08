#!/usr/bin/env python3
"""Stores, manifests, blocks and options that are wrong, through every verb: each gets an error that
names the file (and line), the right exit status, and nothing in the store changes."""

import os
import re
import sqlite3
import unittest

import images
from fixture import DISKDUMP, IS_ROOT, LONG, cases, run, tool
from verbs import FAILED, USAGE, Verbs, tree

GIB = 1 << 30


class BadStore(Verbs):
    def setUp(self):
        super().setUp()
        self.take(1, 2, 3, date="2026-01-01")
        self.take(1, 4, date="2026-01-02")
        self.img = self.image(9, name="other")
        # Its lock files and tables are there from now on.
        self.run_verb("gc")
        self.manifest = os.path.join(self.store, "2026/01/02/web-sda.manifest")
        os.chmod(self.manifest, 0o644)
        with open(self.manifest, encoding="ascii") as file:
            self.good = file.read()

    def reading(self):
        return [["list"], ["status"], ["info", "web-sda"], ["diff", "web-sda~1", "web-sda"],
                ["verify", "--no-repair"], ["gc", "--dry-run"],
                ["prune", "--keep-last", 1, "--dry-run"], ["restore", "web-sda", "-o", self.path("o")]]

    def writing(self):
        return [["gc"], ["prune", "--keep-last", 1], ["verify"], ["reindex"], ["protect", "web-sda"],
                ["unprotect", "web-sda"], ["import", self.img, "--as", "new"],
                ["dump", f"localhost:{self.img}"]]

    def refused(self, verbs, words, status=FAILED):
        """Each verb says all of `words` and changes nothing."""
        before = tree(self.store)
        for verb in verbs:
            with self.subTest(verb=" ".join(map(str, verb))):
                done = self.run_verb(*verb, expect=status)
                for word in words:
                    # What verify finds is its result, and goes to stdout.
                    self.assertRegex(done.text, word)
                self.assertEqual(tree(self.store), before)
                self.assertFalse(os.path.exists(self.path("o")))


class Manifests(BadStore):
    def damages(self):
        """name → (text, line, whether the header tells)"""
        lines = self.good.splitlines(keepends=True)

        def with_line(number, text):
            return "".join(lines[:number - 1] + [text] + lines[number:])

        return {
            "broken line": (with_line(7, "this is no digest\n"), 7, False),
            "short digest": (with_line(8, lines[7][:-5] + "\n"), 8, False),
            "long digest": (with_line(8, "0" + lines[7]), 8, False),
            "upper case": (with_line(8, lines[7].upper()), 8, False),
            "one block less": ("".join(lines[:-1]), None, False),
            "one block more": (self.good + lines[-1], 9, False),
            "wrong count": (with_line(5, "# total_blocks: 3\n"), 6, True),
            "size that does not fit": (with_line(6, "# total_size: 999999\n"), 6, True),
            "size that no disk has": (with_line(6, f"# total_size: {1 << 63}\n"), 6, True),
            "no size": (with_line(6, ""), None, True),
            "another version": (with_line(1, "# diskdump manifest v3\n"), 1, True),
            "no manifest": ("hello\n", 1, True),
            "empty": ("", 1, True),
        }

    def test_each_kind_is_named_with_file_and_line(self):
        for kind, (text, line, in_header) in self.damages().items():
            images.write(self.manifest, text.encode())
            place = [re.escape("2026/01/02/web-sda.manifest")]
            if line:
                place.append(f"line {line}:")
            with self.subTest(damage=kind):
                self.refused([["info", "web-sda"], ["diff", "web-sda", "2026/01/01/web-sda.manifest"],
                              ["status"], ["restore", "web-sda", "-o", self.path("o")],
                              ["verify", "--no-repair"], ["gc", "--dry-run"], ["gc"],
                              ["prune", "--keep-last", 1, "--dry-run"]] +
                             ([["list"]] if in_header else []), place)
                # The other image is not touched by any of it, though its manifest is the older one.
                done = self.run_verb("prune", "--keep-last", 1, "--no-gc", expect=FAILED)
                self.assertTrue(os.path.exists(os.path.join(self.store, "2026/01/01/web-sda.manifest")))
                self.assertTrue(os.path.exists(self.manifest))
                self.assertRegex(done.stderr, place[0])
                self.diskdump.restore("2026/01/01/web-sda", self.path("fine"), "--force")

    def test_ten_gigabytes_of_text(self):
        header = "".join(self.good.splitlines(keepends=True)[:6])
        digest = "0" * 64 + "\n"

        def sparse(start):
            images.write(self.manifest, start.encode())
            os.truncate(self.manifest, 10 * GIB)

        def repeated(start, text):
            # One piece on disk, then as much as makes it absurd for what the header promises.
            piece = text * (images.MIB // len(text))
            images.write(self.manifest, (start + piece * 64).encode())

        for kind, make in {"zeros": lambda: sparse(""), "zeros after the header": lambda: sparse(header),
                           "zeros after the blocks": lambda: sparse(self.good),
                           "digests": lambda: repeated(header, digest),
                           "comments": lambda: repeated(header, "# a comment: that goes on\n"),
                           "one line": lambda: repeated(header, "x")}.items():
            make()
            with self.subTest(text=kind):
                for verb in (["info", "web-sda"], ["gc", "--dry-run"], ["verify", "--no-repair"],
                             ["restore", "web-sda", "-o", self.path("o")]):
                    done = self.measured(*verb)
                    self.assertEqual(done[0], FAILED, done[3])
                    self.assertRegex(done[3], r"web-sda\.manifest.*line \d+")
                    self.assertLess(done[1], 200 << 10, "KiB of memory")
                    self.assertLess(done[2], 20, "seconds")

    def measured(self, *verb):
        """status, peak KiB, CPU seconds, what it said"""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(write, 2)
            os.dup2(write, 1)
            command = self.diskdump.command(*verb, json_events=False)
            os.execve(command[0], command, self.diskdump.env)
        os.close(write)
        with os.fdopen(read, encoding="utf-8", errors="replace") as said:
            text = said.read()
        _, status, usage = os.wait4(pid, 0)
        return os.waitstatus_to_exitcode(status), usage.ru_maxrss, usage.ru_utime + usage.ru_stime, text


class Blocks(Verbs):
    def test_a_block_with_other_content_is_not_restored(self):
        manifest = self.take(1, 2, 3)
        with open(os.path.join(self.store, manifest), encoding="ascii") as file:
            first, second, _ = [line.strip() for line in file if not line.startswith("#")]
        paths = [os.path.join(self.store, ".blockstore", d[:2], d[2:4], d + ".lz4")
                 for d in (first, second)]
        # Whole, and of the right length: only its digest tells.
        with open(paths[0], "rb") as block:
            content = block.read()
        os.unlink(paths[1])
        images.write(paths[1], content)
        for output in (["-o", self.path("o")], []):
            done = self.run_verb("restore", "web-sda", *output, expect=FAILED, json_events=False)
            self.assertIn("another digest", done.text)
            self.assertIn(second, done.text)
        self.assertFalse(os.path.exists(self.path("o")))


class Stores(BadStore):
    def test_a_store_of_another_version_or_hash(self):
        config = os.path.join(self.store, ".blockstore/config.json")
        os.chmod(config, 0o644)
        for text in ('{"block_size": 131072, "hash_algo": "sha256", "version": 2}',
                     '{"block_size": 131072, "hash_algo": "blake3", "version": 1}',
                     '{"block_size": 0, "hash_algo": "sha256", "version": 1}',
                     '{"block_size": 131072, "hash_algo"', "", "[]"):
            with self.subTest(config=text):
                images.write(config, text.encode())
                self.refused([v for v in self.reading() + self.writing() if v != ["list"]],
                             ["config.json"])

    def test_an_index_that_is_no_database(self):
        index = os.path.join(self.store, ".blockstore/blocks.db")
        for suffix in ("-wal", "-shm"):
            if os.path.exists(index + suffix):
                os.unlink(index + suffix)
        images.write(index, b"this is no database " * 1000)
        self.refused([["status"], ["info", "web-sda"], ["gc"], ["gc", "--dry-run"],
                      ["import", self.img, "--as", "new"], ["dump", f"localhost:{self.img}"]],
                     ["blocks.db", "reindex"])
        # What does not need it works on, and reindex mends it.
        self.run_verb("list")
        self.diskdump.restore("web-sda", self.path("restored"))
        self.run_verb("reindex")
        self.assertEqual(self.event("info", "info", "web-sda")["blocks_missing"], 0)

    @unittest.skipUnless(LONG, "waits half a minute for the lock (DISKDUMP_TEST_LONG=1)")
    def test_an_index_that_another_program_keeps_locked(self):
        index = sqlite3.connect(os.path.join(self.store, ".blockstore/blocks.db"))
        index.execute("BEGIN EXCLUSIVE")
        before = tree(self.store)
        commands = [(verb, self.diskdump.start(*verb))
                    for verb in (["gc"], ["import", self.img, "--as", "new"])]
        for verb, command in commands:
            done = self.diskdump.finish(command, verb, expect=FAILED)
            self.assertRegex(done.error, "blocks.db.*locked")
        # A block may have been written before its row could not be; without one it means nothing.
        after = {path: digest for path, digest in tree(self.store).items()
                 if path in before or not path.endswith(".lz4") and digest != "folder"}
        self.assertEqual(after, before)
        index.rollback()
        index.close()
        self.run_verb("gc")

    def test_a_store_without_permission(self):
        if IS_ROOT:
            user = self.user()
            prefix = [tool("runuser"), "-u", user.name, "--"]
            if run(*prefix, DISKDUMP, "--version", check=False).returncode != 0:
                self.skipTest("another user may not run the program here")
            self.diskdump.prefix = prefix
            os.chmod(self.path(), 0o777)  # for what a restore would write
        for folder, mode in ((os.path.join(self.store, ".blockstore"), 0o700 if IS_ROOT else 0),
                             (self.store, 0o700 if IS_ROOT else 0)):
            with self.subTest(folder=folder):
                before = os.stat(folder).st_mode
                listing = tree(self.store)
                os.chmod(folder, mode)
                try:
                    for verb in self.reading() + self.writing():
                        with self.subTest(verb=" ".join(map(str, verb))):
                            if verb == ["list"] and folder.endswith(".blockstore"):
                                continue
                            done = self.run_verb(*verb, expect=FAILED)
                            self.assertRegex(done.error, "(?i)permission")
                            self.assertIn(self.store, done.error)
                finally:
                    os.chmod(folder, before)
                self.assertEqual(tree(self.store), listing)

    def test_what_is_no_store(self):
        self.store = self.path("empty")
        os.mkdir(self.store)
        for verb in self.reading() + [["gc"], ["prune", "--keep-last", 1], ["verify"], ["reindex"],
                                      ["protect", "web-sda"], ["unprotect", "web-sda"]]:
            with self.subTest(verb=verb):
                self.assertIn(self.store, self.run_verb(*verb, expect=FAILED).error)
                self.assertEqual(os.listdir(self.store), [])


class Usage(BadStore):
    def test_wrong_usage_is_said_and_changes_nothing(self):
        self.refused([["import", self.img], ["import", "--as", "x"], ["info"], ["info", "a", "b"],
                      ["diff", "web-sda"], ["prune"], ["prune", "--keep-last", "many"],
                      ["verify", "--sample", "x"], ["verify", "--sample", "101%"],
                      ["list", "--since", "monday"], ["gc", "everything"], ["status", "now"],
                      ["import", self.img, "--as", "x", "--date", "2026-13-01"],
                      ["import", self.img, "--as", "x", "--block-size", 1000]], ["."], USAGE)

    def test_names_that_mean_nothing(self):
        self.refused([["info", "wbe-sda"], ["diff", "web-sda", "wbe-sda"], ["protect", "wbe-sda"],
                      ["unprotect", "wbe-sda"], ["verify", "--manifest", "wbe-sda"],
                      ["restore", "wbe-sda", "-o", self.path("o")]], ["wbe-sda", "web-sda"])
        self.refused([["info", "web-sda~2"], ["info", "web-sda@2025"], ["info", "/etc/passwd"],
                      ["info", "../../etc"], ["protect", "/etc/passwd"], ["prune", "x", "--keep-last", 1]],
                     ["."])


if __name__ == "__main__":
    cases.main()
