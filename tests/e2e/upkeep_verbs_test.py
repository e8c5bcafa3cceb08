#!/usr/bin/env python3
"""prune, protect, gc, verify and reindex."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess

import images
import store_check
from fixture import cases
from verbs import BLOCK, FAILED, INTERRUPTED, USAGE, Verbs, tree


class Pruning(Verbs):
    def make_days(self):
        for day in range(1, 8):
            self.take(day, 100, date=f"2026-01-0{day}")
        self.take(50, source="db", date="2020-01-01")

    def names(self):
        return [e["manifest"] for e in self.events("manifest", "list")]

    def test_what_no_rule_keeps_goes_with_its_blocks(self):
        self.make_days()
        before = len(store_check.block_files(self.store))
        done = self.run_verb("prune", "--keep-last", 2, "--keep-weekly", 2)
        actions = {e["manifest"]: (e["action"], e["reasons"]) for e in done.events
                   if e["event"] == "prune"}
        # 2026-01-04 is a Sunday.
        self.assertEqual(actions["2026/01/04/web-sda.manifest"], ("keep", ["weekly"]))
        self.assertEqual(actions["2026/01/07/web-sda.manifest"], ("keep", ["last", "weekly"]))
        self.assertEqual(actions["2026/01/01/web-sda.manifest"], ("remove", []))
        self.assertEqual(actions["2020/01/01/db-sda.manifest"][0], "keep")
        summary = next(e for e in done.events if e["event"] == "prune_summary")
        self.assertEqual((summary["kept"], summary["removed"]), (4, 4))
        collected = next(e for e in done.events if e["event"] == "gc")
        self.assertEqual(collected["blocks_freed"], 4)
        self.assertEqual(self.names(), ["2020/01/01/db-sda.manifest"] + [
            f"2026/01/0{d}/web-sda.manifest" for d in (4, 6, 7)])
        self.assertEqual(sorted(os.listdir(os.path.join(self.store, "2026/01"))), ["04", "06", "07"])
        self.assertEqual(len(store_check.block_files(self.store)), before - 4)
        self.assertEqual(store_check.check(self.store), [])

    def test_a_dry_run_changes_nothing(self):
        self.make_days()
        before = tree(self.store)
        text = self.text("prune", "--keep-last", 1, "--dry-run")
        self.assertIn("would remove", text)
        self.assertIn("6 of 8 manifests would be removed", text)
        self.assertEqual(tree(self.store), before)
        would = self.event("gc", "prune", "--keep-last", 1, "--dry-run")
        self.assertEqual((would["dry_run"], would["blocks_freed"]), (True, 0))
        self.assertIn(f"would delete {would['blocks_condemned']} blocks", text)
        self.assertEqual(self.events("gc", "prune", "--keep-last", 1, "--dry-run", "--no-gc"), [])
        self.assertEqual(tree(self.store), before)
        # What it foretold is what happens.
        freed = self.event("gc", "prune", "--keep-last", 1)
        self.assertGreater(freed["blocks_freed"], 0)
        self.assertEqual((freed["blocks_freed"], freed["bytes_freed"]),
                         (would["blocks_condemned"], would["bytes_condemned"]))

    def test_only_the_names_that_were_given(self):
        self.make_days()
        self.take(51, source="db", date="2020-01-02")
        self.run_verb("prune", "w*", "--keep-last", 1, "--no-gc")
        self.assertEqual(len(self.names()), 3)
        done = self.run_verb("prune", "nobody", "--keep-last", 1, expect=FAILED)
        self.assertIn("nobody", done.stderr)

    def test_a_rule_is_needed(self):
        self.make_days()
        before = tree(self.store)
        self.run_verb("prune", expect=USAGE)
        self.run_verb("prune", "--keep-last", 0, "--keep-yearly", 0, expect=USAGE)
        self.run_verb("prune", "--keep-last", "-1", expect=USAGE)
        self.assertEqual(tree(self.store), before)

    def test_what_is_protected_stays_until_it_is_not(self):
        self.make_days()
        self.assertTrue(self.event("protection", "protect", "web-sda@2026-01-02")["changed"])
        self.assertFalse(self.event("protection", "protect", "web-sda@2026-01-02")["changed"])
        self.assertTrue(self.event("info", "info", "web-sda@2026-01-02")["protected"])
        self.run_verb("prune", "--keep-last", 1)
        self.assertIn("2026/01/02/web-sda.manifest", self.names())
        self.assertIn("(protected)", self.text("list"))
        # It does not live in the index.
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(os.path.join(self.store, ".blockstore/blocks.db" + suffix)):
                os.unlink(os.path.join(self.store, ".blockstore/blocks.db" + suffix))
        self.run_verb("reindex")
        self.run_verb("prune", "--keep-last", 1)
        self.assertIn("2026/01/02/web-sda.manifest", self.names())
        self.run_verb("unprotect", "web-sda@2026-01-02")
        self.run_verb("prune", "--keep-last", 1)
        self.assertNotIn("2026/01/02/web-sda.manifest", self.names())

    def test_a_manifest_that_was_deleted_can_still_be_unprotected(self):
        path = self.take(1)
        self.run_verb("protect", path)
        os.unlink(os.path.join(self.store, path))
        self.run_verb("protect", path, expect=FAILED)
        self.assertTrue(self.event("protection", "unprotect", path)["changed"])

    def test_a_damaged_manifest_is_named_and_left_alone(self):
        self.make_days()
        path = os.path.join(self.store, "2026/01/07/web-sda.manifest")
        with open(path, encoding="ascii") as manifest:
            good = manifest.read()
        os.chmod(path, 0o600)
        images.write(path, good[:-2].encode() + b"g\n")
        done = self.run_verb("prune", "--keep-last", 1, "--no-gc", expect=FAILED)
        self.assertIn("2026/01/07/web-sda.manifest", done.stderr)
        self.assertEqual(self.names(), ["2020/01/01/db-sda.manifest", "2026/01/06/web-sda.manifest",
                                        "2026/01/07/web-sda.manifest"])


class Upkeep(Verbs):
    def test_gc_deletes_what_no_manifest_names(self):
        self.take(1, 2, date="2026-01-01")
        self.take(2, 3, date="2026-01-02")
        os.unlink(os.path.join(self.store, "2026/01/01/web-sda.manifest"))
        would = self.event("gc", "gc", "--dry-run")
        self.assertEqual((would["dry_run"], would["blocks_condemned"], would["blocks_freed"]),
                         (True, 1, 0))
        self.assertEqual(len(store_check.block_files(self.store)), 3)
        done = self.event("gc", "gc")
        self.assertEqual((done["blocks_freed"], done["manifests"], done["blocks_named"]), (1, 1, 2))
        self.assertEqual(len(store_check.block_files(self.store)), 2)
        self.assertEqual(store_check.check(self.store), [])

    def test_gc_waits_for_a_restore_that_runs(self):
        image = images.random_image(64 * images.MIB)
        self.run_verb("import", image, "--as", "web")
        command = subprocess.Popen(self.diskdump.command("restore", "web-sda", json_events=False),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.diskdump.env)
        self.addCleanup(command.stdout.close)
        self.addCleanup(command.stderr.close)
        first = command.stdout.read(1000)
        shutil.rmtree(os.path.join(self.store, os.path.dirname(os.path.dirname(
            os.path.dirname(self.manifests()[0])))))
        waiting = self.event("gc", "gc")
        self.assertEqual(waiting["blocks_freed"], 0)
        self.assertEqual(waiting["waiting_for"], ["restore of web-sda"])
        self.assertEqual(self.event("status", "status")["blocks_condemned"],
                         waiting["blocks_pending"])
        rest = command.stdout.read()
        self.assertEqual(command.wait(), 0)
        with open(image, "rb") as file:
            self.assertEqual(hashlib.file_digest(file, "sha256").hexdigest(),
                             hashlib.sha256(first + rest).hexdigest())
        self.assertEqual(self.event("gc", "gc")["blocks_freed"], waiting["blocks_pending"])

    def damage(self):
        self.take(1, 2, 3, 2, date="2026-01-01")
        digest = hashlib.sha256(images.bytes_of(2, BLOCK)).hexdigest()
        path = store_check.block_files(self.store)[digest]
        os.chmod(path, 0o600)
        with open(path, "r+b") as block:
            block.truncate(1000)
        return digest

    def test_verify_names_what_damage_hits_and_the_next_dump_heals(self):
        digest = self.damage()
        looked = self.run_verb("verify", "--no-repair", expect=FAILED)
        damage = next(e for e in looked.events if e["event"] == "damage")
        self.assertEqual((damage["block"], damage["kind"], damage["quarantined"]),
                         (digest, "truncated", None))
        hit = [(e["manifest"], e["offset"], e["length"]) for e in looked.events
               if e["event"] == "damaged_range"]
        self.assertEqual(hit, [("2026/01/01/web-sda.manifest", BLOCK, BLOCK),
                               ("2026/01/01/web-sda.manifest", 3 * BLOCK, BLOCK)])
        text = self.text("verify", expect=FAILED)
        self.assertIn(f"truncated block {digest}", text)
        self.assertIn(f"2026/01/01/web-sda.manifest: {BLOCK} bytes at {3 * BLOCK}", text)
        self.assertIn(".blockstore/quarantine/", text)
        self.take(2, source="db")
        done = self.event("verify", "verify")
        self.assertTrue(done["ok"])
        self.diskdump.restore("web-sda", self.path("restored"))

    def test_verify_lists_the_first_100000_damages_and_counts_all(self):
        self.take(1)
        count, listed = 100_007, 100_000
        names = [hashlib.sha256(n.to_bytes(4, "little")).hexdigest() for n in range(count)]
        # Rows without a file, which an image needs: each is a damage and a range.
        with store_check.open_index(store_check.index_path(self.store)) as index, index:
            index.executemany("INSERT INTO blocks VALUES (?, 100)", [(name,) for name in names])
        os.makedirs(os.path.join(self.store, "2026/01/01"))
        images.write(os.path.join(self.store, "2026/01/01/lost.manifest"),
                     (f"# diskdump manifest v1\n# block_size: 4096\n# total_blocks: {count}\n"
                      f"# total_size: {count * 4096}\n" + "\n".join(names) + "\n").encode())
        done = self.run_verb("verify", "--no-repair", expect=FAILED)
        kinds = [e["event"] for e in done.events]
        self.assertEqual(kinds.count("damage"), listed)
        # A range is listed with its block.
        blocks = [{e["block"] for e in done.events if e["event"] == kind} for kind in ("damage", "damaged_range")]
        self.assertLessEqual(blocks[1], blocks[0])
        self.assertLessEqual(blocks[0], set(names))
        self.assertIn(kinds.count("damaged_range"), range(listed - (count - listed), listed + 1))
        event = next(e for e in done.events if e["event"] == "verify")
        self.assertEqual((event["ok"], event["blocks_damaged"], event["ranges_damaged"]), (False, count, count))
        text = self.text("verify", "--no-repair", expect=FAILED)
        self.assertEqual(text.count("missing block "), listed)
        self.assertIn(f"\n… {count} damaged blocks and {count} ranges in all\n", text)
        self.assertIn(f": {count} blocks and 0 manifests are damaged\n", text)

    def test_verify_of_one_image_and_of_a_part(self):
        self.damage()
        self.take(7, 8, source="db")
        self.assertTrue(self.event("verify", "verify", "--manifest", "db-sda")["ok"])
        self.run_verb("verify", "--manifest", "web-sda", "--no-repair", expect=FAILED)
        self.run_verb("verify", "--manifest", "nobody", expect=FAILED)
        self.assertIsNotNone(self.event("verify", "verify", "--sample", "5%", "--no-repair",
                                        expect=None)["sample"])
        self.run_verb("verify", "--sample", "0%", expect=USAGE)

    def test_reindex_makes_the_index_from_the_files(self):
        self.take(1, 2, 3)
        index = os.path.join(self.store, ".blockstore/blocks.db")
        rows = store_check.index_rows(self.store)
        for options in ([], ["--quick"]):
            images.write(index, b"this is no database" * 1000)
            for suffix in ("-wal", "-shm"):
                if os.path.exists(index + suffix):
                    os.unlink(index + suffix)
            done = self.event("reindex", "reindex", *options)
            self.assertEqual((done["blocks"], done["rows_added"]), (3, 3))
            self.assertTrue(done["moved_aside"])
            self.assertEqual(store_check.index_rows(self.store), rows)
        self.diskdump.restore("web-sda", self.path("restored"))

    def test_a_gc_that_waits_tells_of_it_and_can_be_interrupted(self):
        self.take(1, 2, date="2026-01-01")
        os.unlink(os.path.join(self.store, "2026/01/01/web-sda.manifest"))
        path = os.path.join(self.store, ".blockstore/leases/somebody.lease")
        with open(path, "w", encoding="ascii") as lease:
            lease.write("a dump of this test\n")
            lease.flush()
            fcntl.flock(lease, fcntl.LOCK_EX)
            command = self.diskdump.start("gc", "--wait")
            event = json.loads(command.stdout.readline())
            self.assertEqual((event["event"], event["verb"]), ("progress", "gc"))
            self.assertTrue(event["phase"])
            command.send_signal(signal.SIGINT)
            done = self.diskdump.finish(command, expect=INTERRUPTED)
            self.assertTrue(done.events[-1]["stopped"])
            self.assertIn("interrupted", done.stderr)
            self.assertEqual(len(store_check.block_files(self.store)), 2)
            self.assertEqual(self.event("gc", "gc")["waiting_for"], ["a dump of this test"])
        self.assertEqual(self.event("gc", "gc")["blocks_freed"], 2)
        self.assertEqual(os.listdir(os.path.join(self.store, ".blockstore/leases")), [])


if __name__ == "__main__":
    cases.main()
