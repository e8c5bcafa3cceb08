"""Manifests of stores of packs: they name lists, and cost what changed."""

import hashlib
import os

import images
import store_check
from fixture import cases
from verbs import FAILED, USAGE, Verbs

BLOCK = 4096
LIST = 4096  # digests


class Lists(Verbs):
    def setUp(self):
        super().setUp()
        self.run_verb("init", "--format", "pack", "--block-size", str(BLOCK))
        # Few contents that repeat: what counts is how many blocks there are.
        some = [images.bytes_of(n, BLOCK) for n in range(1, 40)]
        self.content = b"".join(some[i % 37] for i in range(2 * LIST + 100)) + b"the end"

    def take_content(self):
        path = images.write(self.path("large"), self.content)
        return self.run_verb("import", path, "--as", "web:/dev/sda", "--durability", "none",
                             "--block-size", str(BLOCK)).target["manifest"]

    def digests(self):
        return [hashlib.sha256(self.content[at:at + BLOCK]).hexdigest()
                for at in range(0, len(self.content), BLOCK)]

    def printed_digests(self, what, **options):
        return self.run_verb("info", "--digests", what, json_events=False, **options).stdout.decode().split()

    def restored(self, what):
        return self.run_verb("restore", what, json_events=False).stdout

    def damage(self, name):
        size, pack, offset = store_check.pack_rows(self.store)[name]
        path = os.path.join(self.store, ".blockstore", "packs", f"{pack:06}.pack")
        with open(path, "r+b") as file:
            file.seek(offset + 64 + size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))

    def test_an_image_that_did_not_change_adds_its_lines_and_no_block(self):
        first = self.take_content()
        rows = store_check.pack_rows(self.store)
        second = self.take_content()
        self.assertEqual(store_check.pack_rows(self.store), rows)
        for manifest in (first, second):
            path = os.path.join(self.store, manifest)
            self.assertLess(os.path.getsize(path), 600)
            self.assertEqual(store_check.manifest_blocks(path, self.store), self.digests())
            self.assertEqual(self.printed_digests(manifest), self.digests())
            self.assertEqual(self.restored(manifest), self.content)
        info = self.event("info", "info", second)
        self.assertEqual((info["lists"], info["lists_unique"], info["blocks_unique"]), (3, 0, 0))
        self.assertEqual(info["blocks_distinct"], 38)
        self.assertEqual(self.event("status", "status")["blocks_unreferenced"], 0)
        self.assertEqual(store_check.check(self.store), [])

        changed = bytearray(self.content)
        changed[5000 * BLOCK + 3] ^= 1
        self.content = bytes(changed)
        third = self.take_content()
        # The block, and the list that it is in.
        self.assertEqual(len(store_check.pack_rows(self.store)), len(rows) + 2)
        ranges = self.events("range", "diff", second, third)
        self.assertEqual([(r["offset"], r["length"]) for r in ranges], [(5000 * BLOCK, BLOCK)])

    def test_gc_takes_lists_with_the_last_manifest_that_names_them(self):
        first = self.take_content()
        second = self.take_content()
        os.unlink(os.path.join(self.store, first))
        self.run_verb("gc")
        self.assertEqual(self.restored(second), self.content)
        os.unlink(os.path.join(self.store, second))
        self.run_verb("gc")
        self.assertEqual(store_check.pack_rows(self.store), {})

    def test_a_damaged_list_is_told_with_its_range_and_comes_back_with_the_next_dump(self):
        manifest = self.take_content()
        lists = store_check.manifest_lists(os.path.join(self.store, manifest))
        self.damage(lists[1])
        for verb in ("restore", "gc", "info"):
            words = ["gc"] if verb == "gc" else [verb, manifest]
            done = self.run_verb(*words, json_events=False, expect=FAILED)
            text = done.stderr
            self.assertIn(manifest, text)
            self.assertIn(f"blocks {LIST} to {2 * LIST - 1}", text)
            self.assertIn(lists[1], text)
        done = self.run_verb("verify", expect=FAILED)
        ranges = [e for e in done.events if e["event"] == "damaged_range"]
        self.assertEqual([(r["manifest"], r["offset"], r["length"]) for r in ranges],
                         [(manifest, LIST * BLOCK, LIST * BLOCK)])
        # It is gone now, which is told as well.
        done = self.run_verb("restore", manifest, json_events=False, expect=FAILED)
        self.assertIn("which the store lacks", done.stderr)
        self.take_content()
        self.run_verb("verify")
        self.assertEqual(self.restored(manifest), self.content)

    def test_digests_of_a_loose_store_are_its_plain_lines(self):
        self.store = self.path("loose")
        self.run_verb("init", "--format", "loose", "--block-size", str(BLOCK))
        manifest = self.take_content()
        path = os.path.join(self.store, manifest)
        self.assertIsNone(store_check.manifest_lists(path))
        self.assertEqual(self.printed_digests(manifest), store_check.manifest_blocks(path))
        self.run_verb("info", "--digests", manifest, expect=USAGE)


if __name__ == "__main__":
    cases.main()
