"""copy: images from one store to another, of any format; broken off at any moment and done again."""

import hashlib
import os
import random
import signal
import time

import images
import store_check
from fixture import LONG, cases
from verbs import BLOCK, FAILED, INTERRUPTED, USAGE, Verbs, tree

SEED = int(os.environ.get("DISKDUMP_TEST_SEED", random.SystemRandom().randrange(1 << 32)))


class Copy(Verbs):
    def copy(self, to, *arguments, **options):
        return self.run_verb("copy", "--to", to, *arguments, **options)

    def copies(self, to, *arguments, **options):
        """The `copy` events, and the summary."""
        events = self.copy(to, *arguments, **options).events
        return ([e for e in events if e["event"] == "copy"],
                next(e for e in events if e["event"] == "copy_summary"))

    def restored(self, store, manifest):
        self.store, here = store, self.store
        try:
            return self.run_verb("restore", manifest, json_events=False).stdout
        finally:
            self.store = here

    def take_three(self):
        return [self.take(1, 2, 0, 3, 2, date="2026-03-01"),
                self.take(1, 2, 4, 3, 0, tail=b"the end", date="2026-03-01"),
                self.take(5, 1, source="db:/dev/sdb", date="2026-03-02T10:00:00")]

    def test_there_and_back_by_way_of_a_store_of_packs(self):
        manifests = self.take_three()
        packs, back = self.path("packs"), self.path("back")
        done, summary = self.copies(packs, "--format", "pack")
        self.assertEqual({e["manifest"]: e["to"] for e in done}, {m: m for m in manifests})
        self.assertEqual((summary["copied"], summary["present"], summary["failed"]), (3, 0, 0))
        # Blocks 1 to 5, the zeros, and the last one of the second.
        self.assertEqual(summary["blocks_copied"], 7)
        self.assertTrue(store_check.is_pack(packs))
        self.assertEqual(store_check.check(packs), [])
        source = self.store
        self.store = packs
        self.run_verb("verify")
        self.copy(back, "--format", "loose")
        self.store = source
        self.assertEqual(store_check.check(back), [])
        for manifest in manifests:
            with open(os.path.join(source, manifest), "rb") as one, \
                    open(os.path.join(back, manifest), "rb") as other:
                self.assertEqual(one.read(), other.read())
            content = self.restored(source, manifest)
            self.assertEqual(self.restored(packs, manifest), content)
            self.assertEqual(self.restored(back, manifest), content)
        # The second time there is nothing to do.
        before = tree(packs)
        done, summary = self.copies(packs)
        self.assertEqual([e["status"] for e in done], ["present"] * 3)
        self.assertEqual((summary["copied"], summary["present"], summary["blocks_copied"]), (0, 3, 0))
        self.assertEqual({k: v for k, v in tree(packs).items() if not k.endswith(".db")},
                         {k: v for k, v in before.items() if not k.endswith(".db")})
        self.assertIn("is there already, as " + manifests[0],
                      self.copy(packs, "web-sda~1", json_events=False).stdout.decode())

    def test_only_what_is_named_is_copied(self):
        manifests = self.take_three()
        other = self.path("other")
        done, _ = self.copies(other, "web-sda~1", manifests[2], "web-sda~1")
        self.assertEqual([e["manifest"] for e in done], [manifests[0], manifests[2]])
        text = self.copy(other, "nothing", expect=FAILED).text
        self.assertIn("no manifest has this name", text)

    def test_damage_fails_its_image_only(self):
        manifests = self.take_three()
        name = hashlib.sha256(images.bytes_of(4, BLOCK)).hexdigest()
        path = store_check.block_files(self.store)[name]
        with open(path, "r+b") as block:
            block.seek(5000)
            block.write(b"damage")
        other = self.path("other")
        done, summary = self.copies(other, expect=FAILED)
        self.assertEqual({e["manifest"]: e["status"] for e in done},
                         {manifests[0]: "copied", manifests[1]: "failed", manifests[2]: "copied"})
        failed = next(e for e in done if e["status"] == "failed")
        self.assertIn(name, failed["error"])
        self.assertIn(f"bytes {2 * BLOCK} to {3 * BLOCK - 1}", failed["error"])
        self.assertEqual(summary["failed"], 1)
        self.assertNotIn(name, store_check.held_blocks(other))
        os.unlink(path)
        done, _ = self.copies(other, "web-sda", expect=FAILED)
        self.assertIn("lacks", done[0]["error"])
        # A manifest that cannot be read is told, and the others are copied.
        with open(os.path.join(self.store, manifests[0]), "r+b") as manifest:
            manifest.truncate(150)
        third = self.path("third")
        done, summary = self.copies(third, expect=FAILED)
        self.assertEqual((summary["copied"], summary["failed"]), (1, 2))
        self.assertEqual(store_check.check(third), [])

    def test_what_cannot_be_is_refused(self):
        self.take_three()
        self.assertIn("this is the store", self.copy(self.store, expect=FAILED).text)
        self.assertIn("this is the store", self.copy(self.store + "/", expect=FAILED).text)
        source, self.store = self.store, self.path("large")
        self.run_verb("init", "--block-size", str(2 * BLOCK))
        self.store = source
        text = self.copy(self.path("large"), expect=FAILED).text
        self.assertIn(f"init --block-size {BLOCK}", text)
        text = self.copy(self.path("large"), "--format", "pack", expect=FAILED).text
        self.assertIn("of format loose already", text)
        self.run_verb("copy", expect=USAGE)
        self.copy(self.path("other"), "--format", "zip", expect=USAGE)
        self.assertFalse(os.path.exists(self.path("other")))

    def test_broken_off_at_any_moment_and_done_again(self):
        print(f"seed {SEED} (DISKDUMP_TEST_SEED repeats it)")
        pick = random.Random(SEED)
        content = images.bytes_of(SEED, 24 << 20)
        path = images.write(self.path("large"), content)
        large = self.run_verb("import", path, "--as", "large:/dev/sda", "--durability", "none").target["manifest"]
        self.take_three()
        packs = self.path("packs")
        start = time.monotonic()
        self.copy(packs, "--format", "pack")
        whole = time.monotonic() - start
        source, killed, rounds = self.store, 0, 30 if LONG else 8
        for number in range(rounds):
            kind = ("loose", "pack")[number % 2]
            self.store = (source, packs)[number // 2 % 2]
            other = self.path(f"other{number}")
            for how in (signal.SIGKILL, signal.SIGINT):
                arguments = ["copy", "--to", other, "--format", kind]
                process = self.diskdump.start(*arguments)
                time.sleep(pick.random() * whole)
                process.send_signal(how)
                status, said = self.ended(process)
                killed += status in (-signal.SIGKILL, INTERRUPTED)
                self.assertIn(status, (0, -signal.SIGKILL, INTERRUPTED, -signal.SIGINT), said)
                # It is a store once it has its index.
                if any(os.path.exists(os.path.join(other, ".blockstore", name))
                       for name in ("packs.db", "blocks.db")):
                    self.check_whole(other)
            self.copy(other, "--format", kind)
            self.assertEqual(store_check.check(other), [])
            self.assertEqual(self.restored(other, large), content)
        print(f"broken off {killed} times in {2 * rounds} runs")
        self.assertGreater(killed, 0)

    def ended(self, process):
        """The exit status, and what was said."""
        output, errors = process.communicate(timeout=120)
        return process.returncode, f"{output}\n{errors}"

    def check_whole(self, store):
        """Every manifest that is there restores; verify finds nothing in the way."""
        self.store, here = store, self.store
        try:
            for event in self.events("manifest", "list"):
                self.run_verb("restore", event["manifest"], "-o", self.path("out"), "-f")
            self.run_verb("verify", "--no-repair")
        finally:
            self.store = here


if __name__ == "__main__":
    cases.main()
