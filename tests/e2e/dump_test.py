#!/usr/bin/env python3
"""Images of all shapes over a real sshd: dumped, restored, compared equal; and again, with nothing
stored."""

import filecmp
import os
import random
import re
import time

import images
import store_check
from cli import Diskdump
from fixture import cases, SANITIZED, TRIMMED, Scenario, loop_device
from sshd import Sshd

# An unchanged source crosses the wire as digests only.
WIRE_SHARE_MAX = 0.001
SPARSE_SECONDS_MAX = 5


class DumpScenario(Scenario):
    def setUp(self):
        super().setUp()
        self.sshd = Sshd(self)
        self.diskdump = Diskdump(self)

    def dump(self, path, *arguments, **options):
        return self.diskdump.dump(*self.sshd.arguments, f"target:{path}", *arguments, **options)

    def round_trip(self, path, name="image"):
        """Dumps, restores to a file, compares; returns the event and the restored file."""
        event = self.dump(path, "--as", name).target
        restored = self.path("restored-" + name)
        self.diskdump.restore(name, restored)
        self.assert_same_content(path, restored)
        return event, restored


class Shapes(DumpScenario):
    def test_an_ext4_image_with_real_files_comes_back_equal(self):
        image = images.ext4()
        event, _ = self.round_trip(image)
        size = os.path.getsize(image)
        self.assertEqual(event["status"], "ok")
        self.assertEqual(event["bytes"], size)
        self.assertEqual(event["blocks"], -(-size // images.BLOCK))
        self.assertEqual(event["blocks"], event["blocks_stored"] + event["blocks_reused"] +
                         event["blocks_zero"])
        self.assertGreater(event["blocks_zero"], 0)
        self.assertEqual(event["manifest"], self.manifests()[0])
        self.assertRegex(event["manifest"], r"^\d{4}/\d\d/\d\d/image\.manifest$")
        self.assertEqual(store_check.check(self.store, sample=50), [])
        self.assert_nothing_left()

    def test_small_images_at_all_borders_come_back_equal(self):
        for name, path in images.small(self.folder).items():
            with self.subTest(image=name):
                event, _ = self.round_trip(path, name)
                self.assertEqual(event["bytes"], os.path.getsize(path))
        self.assertEqual(store_check.check(self.store), [])
        self.assert_nothing_left()

    def test_repeated_blocks_are_sent_once(self):
        path = images.small(self.folder)["repeats"]
        event = self.dump(path, "--as", "repeats").target
        # One block of data and the tail; 99 repeats of the first.
        self.assertEqual(event["blocks_stored"], 2)
        self.assertLess(event["bytes_wire"], 3 * images.BLOCK)

    def test_a_sparse_file_of_20_gib_takes_seconds_and_stays_sparse(self):
        path = images.sparse(self.path("sparse"))
        start = time.monotonic()
        self.dump(path, "--as", "sparse")
        took = time.monotonic() - start
        if not SANITIZED:
            self.assertLess(took, SPARSE_SECONDS_MAX)
        restored = self.path("restored")
        start = time.monotonic()
        self.diskdump.restore("sparse", restored)
        took = time.monotonic() - start
        if not SANITIZED:
            self.assertLess(took, SPARSE_SECONDS_MAX)
        self.assertEqual(os.path.getsize(restored), images.SPARSE_BYTES)
        self.assertLess(os.stat(restored).st_blocks * 512, 8 * images.MIB, "it is not sparse")
        # Reading 20 GiB of zeros twice takes longer than the dump; the data and its surroundings do.
        with open(path, "rb") as a, open(restored, "rb") as b:
            for offset in (0, images.SPARSE_BYTES // 2 - images.MIB, images.SPARSE_BYTES - images.MIB):
                a.seek(offset)
                b.seek(offset)
                self.assertEqual(a.read(2 * images.MIB), b.read(2 * images.MIB))
            # Nothing but holes elsewhere.
            self.assertEqual(os.lseek(b.fileno(), 0, os.SEEK_DATA) // images.MIB,
                             images.SPARSE_BYTES // 2 // images.MIB - 1)

    def blocks_with_data(self, path):
        return {block for begin, end in images.data_ranges(path)
                for block in range(begin // images.BLOCK, -(-end // images.BLOCK))}

    def assert_sparse_round_trip(self, path, agent):
        """What holds data comes back equal, and what was a hole is one again, block by block."""
        name = f"{os.path.basename(path)}-{agent}"
        size = os.path.getsize(path)
        event = self.dump(path, "--agent", agent, "--as", name).target
        blocks = self.blocks_with_data(path)
        self.assertEqual((event["bytes"], event["blocks"]), (size, -(-size // images.BLOCK)))
        self.assertEqual(event["blocks_stored"] + event["blocks_reused"], len(blocks))
        self.assertEqual(event["blocks_zero"], event["blocks"] - len(blocks))
        restored = self.path("restored")
        self.diskdump.restore(name, restored)
        self.assertEqual(os.path.getsize(restored), size)
        self.assertEqual(self.blocks_with_data(restored), blocks)
        with open(path, "rb") as a, open(restored, "rb") as b:
            # All that is no hole in either of them.
            for block in sorted(blocks):
                one, other = (os.pread(file.fileno(), images.BLOCK, block * images.BLOCK)
                              for file in (a, b))
                self.assertEqual(one, other, f"block {block} differs")
        os.unlink(restored)

    def test_data_behind_the_middle_and_at_the_end_of_20_gib_comes_back_where_it_was(self):
        size = images.SPARSE_BYTES + 3 * images.BLOCK + 4321  # the last block is a part of one
        end = 100_000
        path = images.islands(self.path("late"), size, {
            size // 2 + 12345: 1, size * 3 // 4 - 1234: images.SPARSE_DATA_BYTES, size - end: end})
        with open(path, "rb") as file:  # else it shows nothing
            self.assertGreater(os.lseek(file.fileno(), 0, os.SEEK_DATA), size // 2)
            self.assertEqual(os.lseek(file.fileno(), size - 1, os.SEEK_DATA), size - 1)
        for agent in ("native", "python"):
            with self.subTest(agent=agent):
                self.assert_sparse_round_trip(path, agent)
        self.assertEqual(store_check.check(self.store), [])

    def test_many_islands_of_data_in_20_gib_come_back_where_they_were(self):
        chance = random.Random(20)
        count = 100 if TRIMMED else 300
        step = images.SPARSE_BYTES // count
        # Bytes and pages alone, across a border of blocks, and longer than one.
        places = {number * step + chance.randrange(step - 200_000):
                  chance.choice((1, 511, 4096, 9000, images.BLOCK + 1, 150_000))
                  for number in range(count)}
        path = images.islands(self.path("islands"), images.SPARSE_BYTES, places)
        self.assertGreaterEqual(len(images.data_ranges(path)), count)
        for agent in ("native", "python"):
            with self.subTest(agent=agent):
                self.assert_sparse_round_trip(path, agent)
        self.assertEqual(store_check.check(self.store, sample=40), [])

    def test_a_loop_device_comes_back_equal(self):
        image = images.ext4()
        device = loop_device(self, image)
        event = self.dump(device, "--as", "loop").target
        self.assertEqual(event["bytes"], os.path.getsize(image))
        restored = self.path("restored")
        self.diskdump.restore("loop", restored)
        self.assert_same_content(image, restored)

    def test_a_device_is_found_by_its_short_name(self):
        image = images.write(self.path("image"), images.bytes_of(9, 3 * images.MIB))
        device = loop_device(self, image)
        # `loop3` is no disk name of DESIGN's list (sda, vda, nvme0n1); the long form is.
        event = self.dump(device).target
        self.assertEqual(event["name"], "target-" + os.path.basename(device))

    def test_paths_with_blanks_quotes_and_commands_are_taken_literally(self):
        victim = self.path("touched")
        names = ["with space", "quote'single", 'quote"double', "back\\slash", "-dash", "semi;colon",
                 f"$(touch {os.path.basename(victim)})", "`touch touched`", "new\nline", "star*", "ünï",
                 "& touch touched &", "tab\there", "|touch touched"]
        for number, name in enumerate(names):
            with self.subTest(name=name):
                path = images.write(self.path(name), images.bytes_of(number, 5000))
                self.dump(path, "--as", f"name{number}")
                restored = self.path(f"restored{number}")
                self.diskdump.restore(f"name{number}", restored)
                self.assertTrue(filecmp.cmp(path, restored, shallow=False))
        self.assertFalse(os.path.exists(victim))
        self.assertFalse(os.path.exists(os.path.join(os.path.expanduser("~"), "touched")))


class Packs(DumpScenario):
    """The same into a store of packs."""

    def setUp(self):
        super().setUp()
        self.diskdump.run("init", "--format", "pack")

    def test_images_come_back_equal_from_few_files(self):
        image = images.ext4()
        event, _ = self.round_trip(image)
        self.assertGreater(event["blocks_stored"], 100)
        for name, path in images.small(self.folder).items():
            self.round_trip(path, name)
        second = self.dump(image, "--as", "image").target
        self.assertEqual(second["blocks_stored"], 0)
        self.assertEqual(store_check.check(self.store, sample=50), [])
        packs = os.listdir(os.path.join(self.store, ".blockstore", "packs"))
        self.assertLess(len(packs), 20)
        self.assertEqual(store_check.block_files(self.store), {})
        self.assert_nothing_left()

    def test_what_gc_frees_goes_back_to_the_file_system(self):
        for number, name in enumerate(("kept", "gone")):
            path = images.write(self.path(name), images.bytes_of(number, 64 * images.BLOCK))
            self.dump(path, "--as", name)
        [doomed] = [m for m in self.manifests() if "gone" in m]
        os.unlink(os.path.join(self.store, doomed))
        [event] = [e for e in self.diskdump.run("gc").events if e["event"] == "gc"]
        self.assertEqual(event["blocks_freed"], 64 + 1)  # and the list of them
        self.assertEqual((event["packs_removed"], event["packs_rewritten"]), (1, 0))
        self.assertGreater(event["bytes_reclaimed"], 64 * images.BLOCK)
        self.diskdump.restore("kept", self.path("restored"))
        self.assert_same_content(self.path("kept"), self.path("restored"))
        self.diskdump.run("verify")


class Again(DumpScenario):
    def test_an_unchanged_source_stores_and_sends_nothing(self):
        image = images.ext4()
        first = self.dump(image, "--as", "image").target
        before = {p: os.stat(p).st_mtime_ns for p in store_check.block_files(self.store).values()}
        second = self.dump(image, "--as", "image").target
        self.assertGreater(first["blocks_stored"], 0)
        self.assertEqual(second["blocks_stored"], 0)
        self.assertLess(second["bytes_wire"], WIRE_SHARE_MAX * os.path.getsize(image))
        after = {p: os.stat(p).st_mtime_ns for p in store_check.block_files(self.store).values()}
        self.assertEqual(before, after)
        found = self.manifests()
        self.assertEqual(len(found), 2)
        self.assertEqual({os.path.basename(f) for f in found}, {"image.manifest", "image.2.manifest"})
        one, two = (store_check.manifest_blocks(os.path.join(self.store, f)) for f in found)
        self.assertEqual(one, two)

    def test_the_second_run_uploads_no_agent(self):
        path = images.write(self.path("image"), b"x")
        first = self.dump(path).target
        # Where an earlier run has left it, if not in the scenario's own cache.
        deployed = [first["agent"]]
        self.assertEqual(os.path.basename(deployed[0]), "agent")
        self.assertEqual(os.stat(deployed[0]).st_mode & 0o777, 0o500)
        self.assertEqual(os.stat(os.path.dirname(os.path.dirname(deployed[0]))).st_mode & 0o077, 0)
        before = os.stat(deployed[0])
        second = self.dump(path).target
        after = os.stat(deployed[0])
        self.assertEqual((before.st_ino, before.st_mtime_ns), (after.st_ino, after.st_mtime_ns))
        self.assertFalse(second["agent_uploaded"])

    def test_a_changed_block_is_the_only_one_stored(self):
        path = images.write(self.path("image"), images.bytes_of(1, 4 * images.MIB))
        self.dump(path, "--as", "image")
        with open(path, "r+b") as image:
            image.seek(images.MIB + 5)
            image.write(b"changed")
        event = self.dump(path, "--as", "image").target
        self.assertEqual(event["blocks_stored"], 1)
        restored = self.path("restored")
        self.diskdump.restore("image", restored)
        self.assert_same_content(path, restored)

    def test_what_is_still_the_same_is_expected_and_not_even_told(self):
        """In one dump after the other of an image that changes, grows and shrinks."""
        content = images.bytes_of(2, 40 * images.MIB + 5)
        path = images.write(self.path("image"), content)
        middle = 20 * images.MIB
        versions = {
            "unchanged": (content, 0),
            "changed": (content[:middle] + b"changed" + content[middle + 7:], 1),
            # From here on each differs from the one before in its last blocks.
            "grown": (content + images.bytes_of(3, 3 * images.MIB), 26),
            "shrunk": (content[:30 * images.MIB + 1], 1),
            "emptied": (b"", 0),
        }
        for agent in ("native", "python"):
            self.dump(images.write(path, content), "--as", agent, "--agent", agent)
            for name, (version, stored_max) in versions.items():
                with self.subTest(agent=agent, version=name):
                    images.write(path, version)
                    done = self.dump(path, "--as", agent, "--agent", agent, "--verbose")
                    event = done.target
                    self.assertEqual(event["status"], "ok")
                    self.assertLessEqual(event["blocks_stored"], stored_max)
                    self.assertEqual(event["blocks_reused"],
                                     event["blocks"] - event["blocks_stored"])
                    as_expected = re.search(r": (\d+) blocks were as expected", done.stderr)
                    # What is read before it is known to be expected is asked for.
                    self.assertGreaterEqual(int(as_expected.group(1)),
                                            event["blocks"] // (4 if SANITIZED else 2))
                    restored = self.path("restored")
                    self.diskdump.restore(agent, restored, "--force")
                    self.assert_same_content(path, restored)
        self.assertEqual(store_check.check(self.store), [])

    def test_an_unchanged_image_does_not_wait_for_round_trips(self):
        batches = 20
        content = images.bytes_of(6, batches * images.BATCH_BLOCKS * images.BLOCK)
        path = images.write(self.path("image"), content)
        small = images.write(self.path("small"), b"x")
        relay = self.sshd.relayed()
        for source in (path, small):
            self.dump(source, "--as", os.path.basename(source))
        relay.delay_s = 0.1
        began = self.dump(small, "--as", "small").target["seconds"]
        event = self.dump(path, "--as", "image").target
        self.assertEqual(event["blocks_reused"], event["blocks"])
        # A round trip for each batch would be 4 s.
        if not SANITIZED:
            self.assertLess(event["seconds"] - began, batches * 2 * relay.delay_s / 2)

    def test_a_previous_manifest_of_another_block_size_is_no_help_and_no_harm(self):
        path = images.write(self.path("image"), images.bytes_of(4, 3 * images.MIB + 5))
        for block in (131072, 65536, 131072):
            done = self.dump(path, "--as", "image", "--block-size", block, "--verbose")
            event = done.target
            self.assertEqual(event["status"], "ok")
            self.assertIn(": 0 blocks were as expected", done.stderr)
            if self.manifests()[1:]:
                self.assertRegex(done.stderr, "nothing is expected: .*: another block size")
            self.diskdump.restore("image", self.path(f"restored{block}"), "--force")
            self.assert_same_content(path, self.path(f"restored{block}"))
        self.assertEqual(event["blocks_reused"], event["blocks"])

    def test_older_versions_are_found_by_tilde_and_date(self):
        contents = [images.bytes_of(n, 200_000) for n in range(3)]
        for content in contents:
            self.dump(images.write(self.path("image"), content), "--as", "image")
        day = re.match(r"(\d{4})/(\d\d)/(\d\d)/", self.manifests()[0]).groups()
        wanted = {"image": 2, "image~0": 2, "image~1": 1, "image~2": 0, f"image@{'-'.join(day)}": 2,
                  self.manifests()[0]: None}
        restored = self.path("restored")
        for name, number in wanted.items():
            with self.subTest(manifest=name):
                self.diskdump.restore(name, restored)
                if number is not None:
                    with open(restored, "rb") as out:
                        self.assertEqual(out.read(), contents[number])
            if os.path.exists(restored):
                os.unlink(restored)
        absolute = os.path.join(self.store, f"{'/'.join(day)}/image.2.manifest")
        self.diskdump.restore(absolute, self.path("restored"))
        with open(self.path("restored"), "rb") as out:
            self.assertEqual(out.read(), contents[1])
        self.diskdump.run("restore", "image~3", "-o", self.path("none"), expect=1)
        self.diskdump.run("restore", "image@1999-01-01", "-o", self.path("none"), expect=1)
        self.assertFalse(os.path.exists(self.path("none")))


class CommandLine(DumpScenario):
    def setUp(self):
        super().setUp()
        self.image = images.write(self.path("image"), images.bytes_of(1, 300_001))

    def test_restore_to_stdout_is_the_image_and_nothing_else(self):
        self.dump(self.image, "--as", "image")
        done = self.diskdump.run("restore", "image", json_events=False)
        with open(self.image, "rb") as image:
            self.assertEqual(done.stdout, image.read())

    def test_restore_onto_a_device_writes_zeros_over_what_was_there(self):
        content = images.bytes_of(2, images.MIB) + bytes(images.MIB) + images.bytes_of(3, 4096)
        self.dump(images.write(self.path("source"), content), "--as", "image")
        backing = images.write(self.path("backing"), b"\xaa" * (4 * images.MIB))
        device = loop_device(self, backing, read_only=False)
        self.diskdump.restore("image", device)
        with open(backing, "rb") as out:
            written = out.read()
        self.assertEqual(written[:len(content)], content)
        self.assertEqual(written[len(content):], b"\xaa" * (len(written) - len(content)))

    def test_restore_replaces_a_file_only_where_told_and_by_the_whole_image(self):
        self.dump(self.image, "--as", "image")
        out = images.write(self.path("out"), b"old" * 1000000)
        done = self.diskdump.restore("image", out, expect=1)
        self.assertIn(out, done.error)
        with open(out, "rb") as kept:
            self.assertEqual(kept.read(), b"old" * 1000000)
        self.diskdump.restore("image", out, "--force")
        self.assert_same_content(self.image, out)

    def test_a_target_without_a_verb_is_dumped(self):
        done = self.diskdump.run(*self.sshd.arguments, f"target:{self.image}")
        self.assertEqual(done.target["status"], "ok")
        done = self.diskdump.run(f"localhost:{self.image}", "--as", "local")
        self.assertEqual(done.target["name"], "local")

    def test_the_base_is_taken_from_the_environment_and_the_current_folder(self):
        self.diskdump.env["DISKDUMP_BASE"] = self.store
        self.diskdump.run("dump", f"localhost:{self.image}", "--as", "one", base=False)
        del self.diskdump.env["DISKDUMP_BASE"]
        self.diskdump.run("dump", f"localhost:{self.image}", "--as", "two", base=False, cwd=self.store)
        self.assertEqual(len(self.manifests()), 2)

    def test_names_come_from_host_and_path(self):
        event = self.dump(self.image).target
        self.assertEqual(event["name"], "target-" + self.image.strip("/").replace("/", "."))

    def test_several_paths_and_targets_at_once(self):
        other = images.write(self.path("other"), images.bytes_of(2, 500_000))
        done = self.diskdump.dump(*self.sshd.arguments, f"target:{self.image}:{other}",
                                  f"localhost:{other}", "--as", "local")
        self.assertEqual([e["status"] for e in done.targets], ["ok"] * 3)
        self.assertEqual(len(self.manifests()), 3)
        restored = self.path("restored")
        self.diskdump.restore("local", restored)
        self.assert_same_content(other, restored)

    def test_one_failing_target_stops_no_other(self):
        done = self.diskdump.dump(*self.sshd.arguments, "target:/no/such/file", "--as", "gone",
                                  f"target:{self.image}", "--as", "there", expect=1)
        self.assertEqual({e["name"]: e["status"] for e in done.targets},
                         {"gone": "failed", "there": "ok"})
        self.assertEqual(len(self.manifests()), 1)
        self.diskdump.restore("there", self.path("restored"))
        self.assert_same_content(self.image, self.path("restored"))

    def test_list_shows_what_is_there(self):
        self.dump(self.image, "--as", "image")
        self.dump(self.image, "--as", "other")
        listed = self.diskdump.run("list", json_events=False).stdout.decode()
        self.assertIn("image", listed)
        self.assertIn("other", listed)
        self.diskdump.run("list")

    def test_every_verb_has_a_help_text(self):
        for verb in ([], ["dump"], ["restore"], ["list"]):
            done = self.diskdump.run(*verb, "--help", json_events=False, base=False)
            self.assertIn(b"Usage", done.stdout.replace(b"usage", b"Usage"))

    def test_other_block_and_batch_sizes_come_back_equal(self):
        path = images.write(self.path("sizes"), images.bytes_of(5, 1_234_567))
        sizes = [(4096, 3), (1 << 20, 2)] if TRIMMED else [(4096, 1), (65536, 7), (1 << 20, 2),
                                                          (16 << 20, 1)]
        for block, batch in sizes:
            with self.subTest(block=block, batch=batch):
                self.store = self.path(f"store{block}")
                os.mkdir(self.store)
                self.diskdump.dump(*self.sshd.arguments, "--block-size", block, "--batch-size", batch,
                                   f"target:{path}", "--as", "sized")
                self.diskdump.restore("sized", self.path(f"restored{block}"))
                self.assert_same_content(path, self.path(f"restored{block}"))

    def test_another_block_size_than_the_stores_is_taken_with_a_warning(self):
        self.dump(self.image, "--as", "one")
        done = self.diskdump.dump(*self.sshd.arguments, "--block-size", 65536,
                                  f"target:{self.image}", "--as", "two")
        self.assertIn("this store was made with blocks of 131072 bytes", done.stderr)
        self.diskdump.restore("two", self.path("restored"))
        self.assert_same_content(self.image, self.path("restored"))
        # Without the option the store's own size is taken.
        self.dump(self.image, "--as", "three")
        with open(os.path.join(self.store, self.manifests()[1]), encoding="ascii") as text:
            self.assertIn("# block_size: 131072\n", text.read())


if __name__ == "__main__":
    cases.main()
