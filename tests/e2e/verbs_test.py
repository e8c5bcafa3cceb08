#!/usr/bin/env python3
"""import, list, info, status, diff; and every verb on a store that diskdump 0.1.5 wrote."""

import hashlib
import os
import shutil
import sqlite3

import images
import store_check
from fixture import HERE, cases, wait_until
from verbs import BLOCK, FAILED, GOLDEN, USAGE, Verbs, tree


class Import(Verbs):
    def test_an_image_appears_as_a_dump_of_its_machine(self):
        image = self.image(1, 0, 0, 2, tail=b"tail")
        done = self.run_verb("import", image, "--as", "web:/dev/vg/root", "--date",
                             "2024-12-31T23:30:00-01:00")
        event = done.target
        self.assertEqual(event["source"], "web:/dev/vg/root")
        self.assertEqual(event["manifest"], "2025/01/01/web-vg.root.manifest")
        self.assertEqual((event["blocks"], event["blocks_zero"]), (5, 2))
        with open(os.path.join(self.store, event["manifest"]), encoding="ascii") as manifest:
            self.assertEqual(manifest.read().splitlines()[:6], [
                "# diskdump manifest v1", "# source: web:/dev/vg/root",
                "# date: 2025-01-01T00:30:00+00:00", f"# block_size: {BLOCK}", "# total_blocks: 5",
                f"# total_size: {4 * BLOCK + 4}"])
        self.diskdump.restore("web-vg.root", self.path("restored"))
        self.assert_same_content(image, self.path("restored"))
        self.assert_nothing_left()

    def test_the_device_is_sda_and_the_date_now_unless_given(self):
        event = self.run_verb("import", self.image(1), "--as", "web").target
        self.assertEqual(event["source"], "web:/dev/sda")
        self.assertEqual(event["name"], "web-sda")
        self.assertLess(self.event("info", "info", "web-sda")["age_seconds"], 600)

    def test_what_the_store_has_is_not_stored_again(self):
        self.diskdump.dump(f"localhost:{self.image(1, 2, 3)}", "--as", "dumped")
        event = self.run_verb("import", self.image(3, 2, 4), "--as", "web").target
        self.assertEqual((event["blocks_reused"], event["blocks_stored"]), (2, 1))

    def test_a_sparse_image_is_quick(self):
        event = self.run_verb("import", images.sparse(self.path("sparse"), 4 << 30), "--as", "big",
                              "--block-size", 1 << 20).target
        self.assertEqual(event["blocks_zero"] + event["blocks_stored"], 4096)

    def test_what_is_no_image_changes_nothing(self):
        unreadable = self.image(1, name="unreadable")
        os.chmod(unreadable, 0)
        os.mkfifo(self.path("fifo"))
        wrong = [(self.folder, "directory"), (self.path("none"), "no such file"),
                 (self.path("fifo"), "neither a block device nor a regular file")]
        if os.geteuid() != 0:
            wrong.append((unreadable, "no permission"))
        for path, why in wrong:
            with self.subTest(path=path):
                done = self.run_verb("import", path, "--as", "web", expect=FAILED)
                self.assertIn(why, done.stderr)
                self.assertIn(path, done.stderr)
                self.assertEqual(os.listdir(self.store), [])

    def test_a_date_that_is_none_is_wrong_usage(self):
        for date in ("yesterday", "2026-02-30", "2026-04-24T25:00", "", "2026", "9999-01-01"):
            with self.subTest(date=date):
                done = self.run_verb("import", self.image(1), "--as", "web", "--date", date,
                                     expect=USAGE)
                self.assertIn("--date", done.stderr)
        self.assertEqual(os.listdir(self.store), [])


class Init(Verbs):
    def test_a_store_is_made_once_and_then_only_looked_at(self):
        event = self.event("init", "init", "--format", "pack", "--block-size", "64K")
        self.assertEqual((event["format"], event["block_size"], event["created"]), ("pack", 65536, True))
        before = tree(self.store)
        again = self.event("init", "init", "--format", "pack")
        self.assertEqual((again["block_size"], again["created"]), (65536, False))
        self.assertIn("already", self.text("init", "--format", "pack"))
        for arguments in (["--format", "loose"], ["--format", "pack", "--block-size", "128K"]):
            done = self.run_verb("init", *arguments, expect=FAILED)
            self.assertIn(self.store, done.stderr)
            self.assertIn("already", done.stderr)
        self.assertEqual(tree(self.store), before)
        status = self.event("status", "status")
        self.assertEqual((status["format"], status["block_size"]), ("pack", 65536))

    def test_without_init_the_first_dump_makes_a_loose_one(self):
        self.take(1)
        self.assertEqual(self.event("status", "status")["format"], "loose")
        self.assertFalse(self.event("init", "init")["created"])

    def test_where_nobody_chose_small_blocks_are_stored_in_packs(self):
        image = self.image(1, 2)
        for block, usual in ((16 << 10, "pack"), (32 << 10, "loose")):
            makers = (["init", "--block-size", block],
                      ["import", image, "--as", "web", "--block-size", block],
                      ["dump", f"localhost:{image}", "--as", "web", "--block-size", block])
            for number, arguments in enumerate(makers):
                with self.subTest(block=block, verb=arguments[0]):
                    self.store = self.path(f"{number}-{block}")
                    self.run_verb(*arguments)
                    status = self.event("status", "status")
                    self.assertEqual((status["format"], status["block_size"]), (usual, block))
                    # Who says nothing is content with what there is.
                    self.assertFalse(self.event("init", "init")["created"])
            copied = self.path(f"copied{block}")
            self.run_verb("copy", "--to", copied)
            self.store = copied
            self.assertEqual(self.event("status", "status")["format"], usual)
        self.store = self.path("chosen")
        self.run_verb("init", "--format", "loose", "--block-size", 4096)
        self.run_verb("import", image, "--as", "web", "--block-size", 4096)
        self.assertEqual(self.event("status", "status")["format"], "loose")

    def test_the_reading_verbs_say_the_same_of_packs(self):
        self.run_verb("init", "--format", "pack")
        first = self.take(1, 2, 0, 3)
        self.take(1, 4, 0, 3)
        info = self.event("info", "info", first)
        self.assertEqual((info["blocks_unique"], info["blocks_shared"], info["blocks_missing"]), (1, 3, 0))
        self.assertGreater(info["bytes_stored_unique"], BLOCK)
        status = self.event("status", "status")
        # A list for each manifest is a block, too.
        self.assertEqual((status["blocks"], status["blocks_named"], status["lists"], status["blocks_missing"]),
                         (7, 5, 2, 0))
        self.assertGreater(status["bytes_stored"], 4 * BLOCK)
        self.assertEqual(self.event("diff", "diff", "web-sda~1", "web-sda")["blocks_changed"], 1)
        self.assertEqual(self.event("reindex", "reindex")["blocks"], 7)
        dry = self.event("gc", "prune", "--keep-last", "1", "--dry-run")
        self.assertEqual(dry["blocks_condemned"], 2)  # a block and a list


class Reading(Verbs):
    def test_list_chooses_by_name_and_date(self):
        self.take(1, source="web1", date="2026-01-01")
        self.take(1, source="web2", date="2026-01-02T12:00")
        self.take(1, source="db", date="2026-01-03")

        def names(*arguments):
            return [e["name"] for e in self.events("manifest", "list", *arguments)]

        self.assertEqual(names(), ["db-sda", "web1-sda", "web2-sda"])
        self.assertEqual(names("web*"), ["web1-sda", "web2-sda"])
        self.assertEqual(names("web?-sda", "db-sda", "--since", "2026-01-02"),
                         ["db-sda", "web2-sda"])
        self.assertEqual(names("--until", "2026-01-02"), ["web1-sda", "web2-sda"])
        self.assertEqual(names("--since", "2026-01-02", "--until", "2026-01-02T11:59"), [])
        done = self.run_verb("list", "wbe*", expect=FAILED)
        self.assertIn("wbe*", done.stderr)
        self.run_verb("list", "--since", "soon", expect=USAGE)

    def test_info_tells_what_is_shared(self):
        self.take(1, 2, 2, 0, 3, date="2026-01-01")
        self.take(3, 4, source="db")
        event = self.event("info", "info", "web-sda")
        expected = {"manifest": "2026/01/01/web-sda.manifest", "source": "web:/dev/sda",
                    "date": "2026-01-01T00:00:00+00:00", "bytes": 5 * BLOCK, "block_size": BLOCK,
                    "blocks": 5, "blocks_distinct": 4, "blocks_missing": 0, "blocks_zero": 1,
                    "blocks_unique": 3, "blocks_shared": 1, "protected": False, "other_lines": []}
        self.assertEqual({k: event[k] for k in expected}, expected)
        self.assertGreater(event["bytes_stored"], event["bytes_stored_unique"])
        text = self.text("info", "web-sda")
        for label in ("Source:", "Date:", "Block size:", "Total blocks:", "Total size:",
                      "Unique blocks:"):
            self.assertIn(label, text)

    def test_info_of_an_image_that_lacks_blocks_says_so(self):
        self.take(1, 2)
        with sqlite3.connect(os.path.join(self.store, ".blockstore/blocks.db")) as index:
            index.execute("DELETE FROM blocks WHERE hash = ?",
                          (hashlib.sha256(images.bytes_of(1, BLOCK)).hexdigest(),))
        index.close()
        self.assertEqual(self.event("info", "info", "web-sda", expect=FAILED)["blocks_missing"], 1)
        self.assertEqual(self.event("status", "status", expect=FAILED)["blocks_missing"], 1)

    def test_status_sums_the_store(self):
        self.take(1, 2, 0, date="2026-01-01")
        self.take(1, 2, 0, date="2026-01-02")
        self.take(5, source="db")
        os.unlink(os.path.join(self.store, "2026/01/01/web-sda.manifest"))
        self.take(1, 2, 6, date="2026-01-03")
        done = self.run_verb("status")
        event = next(e for e in done.events if e["event"] == "status")
        expected = {"block_size": BLOCK, "blocks": 5, "manifests": 3, "names": 2,
                    "bytes_images": 7 * BLOCK, "bytes_content": 5 * BLOCK, "blocks_named": 5,
                    "blocks_unreferenced": 0, "blocks_missing": 0, "running": [],
                    "files_quarantined": 0}
        self.assertEqual({k: event[k] for k in expected}, expected)
        self.assertAlmostEqual(event["dedup_ratio"], 7 / 5)
        self.assertEqual([(e["name"], e["versions"]) for e in done.events if e["event"] == "name"],
                         [("db-sda", 1), ("web-sda", 2)])
        text = self.text("status")
        for label in ("Block store:", "Block size:", "Total blocks:", "Compressed:", "Manifests:"):
            self.assertIn(label, text)
        # A dump that runs shows as such.
        big = images.random_image(64 * images.MIB)
        command = self.diskdump.start("import", big, "--as", "slow", "--batch-size", "1")
        running = wait_until(lambda: self.event("status", "status")["running"])
        self.diskdump.finish(command)
        self.assertTrue(running and big in running[0], running)

    def test_status_tells_compression_and_what_is_free(self):
        for form in ("loose", "pack"):
            with self.subTest(format=form):
                base, self.store = self.store, self.path(form)
                self.addCleanup(setattr, self, "store", base)
                self.run_verb("init", "--format", form)
                # One block shrinks to next to nothing, one does not, and one that is in two images counts once.
                text = images.write(self.path("text"), b"a line that comes again and again\n" * 20000)
                self.run_verb("import", text, "--as", "text")
                self.take(1, 2, 0, source="web")
                self.take(2, source="db")
                # And one that no image needs is no part of it.
                gone = self.take(77, source="gone")
                os.unlink(os.path.join(self.store, gone))
                event = self.event("status", "status")
                content, stored = self.measured()
                self.assertEqual(event["bytes_content"], content)
                self.assertAlmostEqual(event["compression_ratio"], content / stored)
                self.assertGreater(event["compression_ratio"], 1.2)
                disk = os.statvfs(self.store)
                # Others write to the same disk meanwhile.
                self.assertAlmostEqual(event["bytes_free"], disk.f_bavail * disk.f_frsize, delta=256 << 20)
                self.assertLessEqual(event["bytes_free"], disk.f_blocks * disk.f_frsize)

    def measured(self):
        """The bytes of the distinct blocks that images name, and what the store keeps for them."""
        if store_check.is_pack(self.store):
            sizes = {name: row[0] for name, row in store_check.pack_rows(self.store).items()}
        else:
            sizes = {name: os.path.getsize(path) for name, path in store_check.block_files(self.store).items()}
        lengths = {}
        for manifest in self.manifests():
            path = os.path.join(self.store, manifest)
            with open(path, encoding="ascii") as lines:
                total = next(int(line.split(": ")[1]) for line in lines if line.startswith("# total_size: "))
            for number, name in enumerate(store_check.manifest_blocks(path, self.store)):
                lengths[name] = min(BLOCK, total - number * BLOCK)
        return sum(lengths.values()), sum(sizes[name] for name in lengths)

    def test_diff_tells_ranges(self):
        self.take(1, 2, 3, 4, date="2026-01-01")
        self.take(1, 5, 6, 4, tail=b"more", date="2026-01-02")
        done = self.run_verb("diff", "web-sda~1", "web-sda")
        ranges = [(e["offset"], e["length"]) for e in done.events if e["event"] == "range"]
        self.assertEqual(ranges, [(BLOCK, 2 * BLOCK), (4 * BLOCK, 4)])
        event = next(e for e in done.events if e["event"] == "diff")
        self.assertEqual((event["ranges"], event["bytes_changed"], event["blocks_changed"]),
                         (2, 2 * BLOCK + 4, 3))
        self.assertEqual(self.events("range", "diff", "web-sda", "web-sda"), [])

    def test_diff_lists_some_ranges_unless_asked_for_all(self):
        self.take(*range(1, 51), date="2026-01-01")
        self.take(*[n + 100 * (n % 2) for n in range(1, 51)], date="2026-01-02")
        self.assertEqual(len(self.events("range", "diff", "web-sda~1", "web-sda")), 20)
        self.assertEqual(len(self.events("range", "diff", "--all", "web-sda~1", "web-sda")), 25)
        self.assertIn("and 5 more", self.text("diff", "web-sda~1", "web-sda"))

    def test_diff_of_other_block_sizes_is_refused(self):
        self.take(1)
        self.run_verb("import", self.image(1), "--as", "db", "--block-size", 65536)
        done = self.run_verb("diff", "web-sda", "db-sda", expect=FAILED)
        self.assertIn("65536", done.stderr)
        self.assertIn("131072", done.stderr)


class Restore(Verbs):
    def test_a_file_gets_its_name_on_file_systems_that_lack_what_they_should_have(self):
        self.take(1, 2, 3)
        wrapper = os.path.join(HERE, "refuse_rename.py")
        for lacking in ("flag", "links"):
            with self.subTest(lacking=lacking):
                self.diskdump.prefix = ["python3", wrapper, lacking]
                out = self.path("out-" + lacking)
                self.run_verb("restore", "web-sda", "-o", out)
                self.assert_same_content(self.path("image"), out)
                self.run_verb("restore", "web-sda", "-o", out, expect=FAILED)
                self.run_verb("restore", "web-sda", "-o", out, "--force")
                self.assert_same_content(self.path("image"), out)
        self.assertEqual([n for n in os.listdir(self.folder) if n.endswith(".partial")], [])


class Golden(Verbs):
    """A store of diskdump 0.1.5 through every verb."""

    def setUp(self):
        super().setUp()
        os.rmdir(self.store)
        shutil.copytree(os.path.join(GOLDEN, "disks"), self.store)

    def test_what_reads_it_changes_nothing(self):
        before = tree(self.store)
        self.assertEqual(len(self.events("manifest", "list")), 6)
        for manifest, size in (("server01.sda", 1315720), ("server01.sda~1", 1184648),
                               ("server01.sda/0", 1184648), ("host9.nvme0n1", 1), ("host9.vdb", 0),
                               ("2026/04/24/server01-sda.manifest", 1315720)):
            event = self.event("info", "info", manifest)
            self.assertEqual((event["bytes"], event["blocks_missing"]), (size, 0))
        status = self.event("status", "status")
        self.assertEqual((status["blocks"], status["manifests"], status["names"],
                          status["blocks_unreferenced"]), (21, 6, 5, 1))
        self.assertEqual(self.event("diff", "diff", "server01.sda~1", "server01.sda")["ranges"], 2)
        self.assertEqual(self.event("diff", "diff", "server01.sda", "server01-sda")["ranges"], 0)
        self.assertTrue(self.event("verify", "verify", "--no-repair")["ok"])
        self.assertEqual(self.event("gc", "gc", "--dry-run")["blocks_condemned"], 1)
        self.run_verb("prune", "--keep-last", 1, "--dry-run")
        self.assertEqual(tree(self.store), before)

    def test_what_writes_it_leaves_every_image_whole(self):
        self.assertEqual(self.event("gc", "gc")["blocks_freed"], 1)
        self.assertTrue(self.event("verify", "verify")["ok"])
        self.run_verb("reindex")
        self.run_verb("protect", "server01.sda~1")
        done = self.run_verb("prune", "--keep-last", 1)
        self.assertEqual(next(e for e in done.events if e["event"] == "prune_summary")["removed"], 0)
        with open(os.path.join(GOLDEN, "SHA256SUMS"), encoding="ascii") as sums:
            digests = {line.split()[1]: line.split()[0] for line in sums}
        for manifest, image in (("server01.sda~1", "server01-sda.0.img"),
                                ("server01.sda", "server01-sda.1.img"),
                                ("host9.sdz", "server01-sda.0.img"), ("host9.vdb", "empty.img"),
                                ("host9.nvme0n1", "tiny.img"), ("server01-sda", "server01-sda.1.img")):
            content = self.run_verb("restore", manifest, json_events=False).stdout
            self.assertEqual(hashlib.sha256(content).hexdigest(), digests[image])
        self.run_verb("unprotect", "server01.sda~1")
        self.run_verb("prune", "--keep-last", 1)
        self.assertEqual(len(self.manifests()), 5)
        self.assertEqual(store_check.check(self.store), [])


if __name__ == "__main__":
    cases.main()
