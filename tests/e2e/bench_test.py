#!/usr/bin/env python3
"""bench: stores are measured, the figures hold together, and nothing is left behind."""

import os
import re
import shutil
import signal
import subprocess
import unittest

from cli import TIMEOUT_S, Diskdump
from fixture import Scenario, all_pids, cases, processes_of, read_proc, wait_until

BLOCK = 65536
BLOCKS = 400
ZEROS, DEDUP = 20, 25
# Of 400 blocks 80 are zeros; of the other 320 a quarter repeats one; 5 % of 320 change.
ZERO_BLOCKS, DATA_BLOCKS, DISTINCT, CHANGED = 80, 320, 240, 16
DUMPS = ["first", "unchanged", "changed"]
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class Bench(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.scratch = self.path("scratch")
        os.mkdir(self.scratch)

    def arguments(self, *more, size=BLOCKS * BLOCK):
        return ["bench", "--scratch", self.scratch, "--size", size, "--block-size", BLOCK,
                "--zeros", ZEROS, "--dedup", DEDUP, *more]

    def bench(self, *more, expect=OK, json_events=True):
        return self.diskdump.run(*self.arguments(*more), expect=expect, base=False,
                                 json_events=json_events)

    def phases(self, done):
        """store → phase → event."""
        found = {}
        for e in done.events:
            if e["event"] == "bench_phase":
                found.setdefault(e["store"], {})[e["phase"]] = e
        return found

    def assert_nothing_is_left(self):
        self.assertEqual(os.listdir(self.scratch), [])
        wait_until(lambda: not processes_of(self.folder))
        self.assertEqual(processes_of(self.folder), [])

    def assert_plausible(self, e):
        """What holds for every phase, whatever the machine."""
        self.assertGreater(e["seconds"], 0)
        if e["bytes"]:
            self.assertAlmostEqual(e["bytes_per_second"], e["bytes"] / e["seconds"], delta=1)
            self.assertAlmostEqual(e["cpu_server_seconds_per_gb"],
                                   e["cpu_server_seconds"] / (e["bytes"] / 1e9), places=6)
        cores = os.cpu_count()
        self.assertLess(e["cpu_server_seconds"] + e["cpu_agent_seconds"],
                        cores * (e["seconds"] + 0.5))
        self.assertGreater(e["memory_server_bytes"], 1 << 20)
        for call, l in e["latency"].items():
            self.assertGreater(l["count"], 0, call)
            self.assertLessEqual(l["p50_us"], l["p99_us"])
            self.assertLessEqual(l["p99_us"], l["p999_us"])
            self.assertLessEqual(l["p999_us"], l["max_us"])
            self.assertLessEqual(l["mean_us"], l["max_us"])
        series = e["series"]
        for name, counts in series["bytes"].items():
            self.assertEqual(len(counts), len(series["seconds"]), name)
            self.assertEqual(counts, sorted(counts), name)
        self.assertEqual(series["seconds"], sorted(series["seconds"]))
        self.assertIn(e["bottleneck"]["stage"],
                      [s["name"] for s in e["stages"]] + ["agent", "none"])
        self.assertTrue(e["bottleneck"]["reason"])


class Figures(Bench):
    def test_what_is_counted_is_what_was_made(self):
        loose, pack = self.path("loose"), self.path("pack")
        os.mkdir(pack)
        done = self.bench("--store", f"loose:{loose}", "--store", f"pack:{pack}", "--store",
                          "memory:", "--store", "null:")
        start = done.events[0]
        self.assertEqual((start["event"], start["bytes"], start["block_size"], start["targets"]),
                         ("bench_start", BLOCKS * BLOCK, BLOCK, 1))
        self.assertAlmostEqual(start["lz4_saves_percent"], 50, delta=1)
        self.assertEqual(done.events[-1]["event"], "bench_summary")
        self.assertEqual(done.events[-1]["stores"], 4)
        found = self.phases(done)
        on_disk = DUMPS + ["restore", "verify", "gc"]
        self.assertEqual({s: list(p) for s, p in found.items()},
                         {f"loose:{loose}": on_disk, f"pack:{pack}": on_disk,
                          "memory:": DUMPS + ["restore"], "null:": DUMPS})
        for store, phases in found.items():
            with self.subTest(store=store):
                self.check_store(phases, lists=store.startswith("pack:"))
        # The folder that was there is empty, the other one gone.
        self.assertEqual(os.listdir(pack), [])
        self.assertFalse(os.path.exists(loose))
        self.assert_nothing_is_left()

    def check_store(self, phases, lists):
        # A list of all blocks, which changes when one of them does.
        for e in phases.values():
            self.assert_plausible(e)
        expected = {"first": (DISTINCT, DATA_BLOCKS - DISTINCT), "unchanged": (0, DATA_BLOCKS),
                    "changed": (CHANGED, DATA_BLOCKS - CHANGED)}
        for name, (stored, reused) in expected.items():
            e = phases[name]
            self.assertEqual((e["blocks_stored"], e["blocks_reused"], e["blocks_zero"]),
                             (stored, reused, ZERO_BLOCKS), name)
            self.assertEqual(e["blocks"], BLOCKS)
            self.assertIs(e["as_made"], True)
            self.assertEqual(e["bytes"], BLOCKS * BLOCK)
            # Each new block was put, and the one block of zeros by the first dump.
            puts = e["latency"].get("put", {"count": 0})["count"]
            self.assertEqual(puts, stored + (name == "first") + (lists and stored > 0))
            self.assertEqual(e["latency"]["barrier"]["count"], 1)
            self.assertGreater(e["latency"]["missing"]["count"], 0)
            # What is new crosses the wire, compressed by half.
            self.assertGreater(e["bytes_wire"], stored * BLOCK * 0.4)
            self.assertLess(e["bytes_wire"], stored * BLOCK * 0.6 + 100_000)
            self.assertEqual(e["series"]["bytes"]["read"][-1], BLOCKS * BLOCK)
            self.assertEqual(e["series"]["bytes"]["stored"][-1], stored * BLOCK)
            self.assertEqual(e["series"]["bytes"]["verified"][-1], stored * BLOCK)
            self.assertGreater(e["cpu_agent_seconds"], 0)
            names = [s["name"] for s in e["stages"]]
            self.assertEqual(names, ["start", "agent", "receive", "look up", "verify", "persist",
                                     "seal"])
        first = phases["first"]
        self.assertAlmostEqual(first["bytes_stored"], DISTINCT * BLOCK / 2,
                               delta=DISTINCT * BLOCK * 0.05)
        if "restore" in phases:
            e = phases["restore"]
            self.assertEqual(e["bytes"], BLOCKS * BLOCK)
            # A call fetches what lies side by side in the image, up to a MiB.
            self.assertGreaterEqual(e["latency"]["get"]["count"], DATA_BLOCKS * BLOCK >> 20)
            self.assertLess(e["latency"]["get"]["count"], DATA_BLOCKS / 2)
            self.assertEqual(e["series"]["bytes"]["restored"][-1], DATA_BLOCKS * BLOCK)
        if "gc" in phases:
            self.assertEqual(phases["verify"]["blocks_seen"], DISTINCT + CHANGED + 1 + 2 * lists)
            self.assertEqual(phases["verify"]["bytes"],
                             (DISTINCT + CHANGED + 1) * BLOCK + 2 * lists * BLOCKS * 32)
            gone = phases["gc"]["blocks_seen"]
            self.assertGreater(gone, 0)
            self.assertLessEqual(gone, CHANGED + lists)
            self.assertIs(phases["gc"]["as_made"], True)
            self.assertLess(phases["gc"]["bytes_stored"], phases["verify"]["bytes_stored"])
            self.assertGreater(first["files"], 0)
            self.assertGreaterEqual(first["bytes_disk"], first["bytes_stored"])

    def test_several_targets_share_blocks(self):
        done = self.bench("--store", "null:", "--targets", 3, "--seed", 5)
        phases = self.phases(done)["null:"]
        e = phases["first"]
        self.assertEqual(e["blocks"], 3 * BLOCKS)
        self.assertEqual((e["blocks_stored"], e["blocks_reused"], e["blocks_zero"]),
                         (3 * DISTINCT, 3 * (DATA_BLOCKS - DISTINCT), 3 * ZERO_BLOCKS))
        self.assertEqual(phases["changed"]["blocks_stored"], 3 * CHANGED)

    def test_a_store_that_forgets_gets_everything_again(self):
        phases = self.phases(self.bench("--store", "null:nothing"))["null:nothing"]
        for name in DUMPS:
            self.assertIsNone(phases[name]["as_made"])
            self.assertGreaterEqual(phases[name]["blocks_stored"], DISTINCT)

    def test_a_copy_of_a_file_is_measured_and_the_file_stays(self):
        source = self.path("source.img")
        before = os.urandom(100 * BLOCK + 12345)
        with open(source, "wb") as image:
            image.write(before)
        pack = self.path("pack")
        done = self.diskdump.run("bench", "--scratch", self.scratch, "--block-size", BLOCK,
                                 "--source", source, "--store", f"pack:{pack}", "--store",
                                 "memory:", base=False)
        self.assertIsNone(done.events[0]["dedup_percent"])
        for phases in self.phases(done).values():
            self.assertEqual(phases["first"]["bytes"], 100 * BLOCK + 12345)
            self.assertEqual(phases["first"]["blocks_stored"], 101)
            self.assertEqual(phases["unchanged"]["blocks_stored"], 0)
            self.assertEqual(phases["changed"]["blocks_stored"], 6)
            self.assertEqual(phases["restore"]["bytes"], 100 * BLOCK + 12345)
        with open(source, "rb") as image:
            self.assertEqual(image.read(), before)
        self.assert_nothing_is_left()

    def test_keep_leaves_a_store_that_works(self):
        self.bench("--store", f"pack:{self.store}", "--keep")
        done = self.diskdump.run("verify")
        self.assertTrue(next(e for e in done.events if e["event"] == "verify")["ok"])
        self.assertEqual(len(self.manifests()), 1)
        self.assert_nothing_is_left()

    def test_the_table_is_for_people(self):
        done = self.bench("--store", f"pack:{self.path('b')}", "--store", "null:",
                          json_events=False)
        text = done.stdout.decode()
        for word in ("first dump", "5 % changed", "restore", "verify", "gc", "p99.9", "persist",
                     f"{ZEROS} % zeros"):
            self.assertIn(word, text)


class Refusals(Bench):
    def test_a_folder_that_is_not_empty_is_refused_and_stays(self):
        self.diskdump.run("init")
        before = sorted(os.listdir(self.store))
        new = self.path("new")
        done = self.bench("--store", f"loose:{new}", "--store", f"loose:{self.store}",
                          expect=FAILED)
        self.assertIn("not empty", done.stderr)
        self.assertIn("name a folder that is empty", done.stderr)
        self.assertEqual(done.events[-1]["event"], "error")
        self.assertEqual(sorted(os.listdir(self.store)), before)
        self.diskdump.run("status")
        # What had been made for the other store is gone.
        self.assertFalse(os.path.exists(new))
        self.assert_nothing_is_left()

    def test_wrong_usage(self):
        for wrong in (["--store", "null:/x"], ["--store", "zip:x"], ["--store", "pack:"], [],
                      ["--store", "null:", "--zeros", "101"],
                      ["--store", f"pack:{self.path('a')}", "--store", f"pack:{self.path('a/b')}"]):
            self.bench(*wrong, expect=USAGE)
        self.assertEqual(os.listdir(self.scratch), [])

    def test_places_that_are_not_there(self):
        page = os.path.join(self.path("absent"), "p.html")
        for wrong in (["--store", f"pack:{self.path('no', 'such')}"],
                      ["--store", "null:", "--html", page],
                      ["--store", "null:", "--html", self.folder]):
            done = self.bench(*wrong, expect=FAILED)
            self.assertIn(self.folder, done.stderr)
        done = self.diskdump.run("bench", "--store", "null:", "--scratch", self.path("absent"),
                                 base=False, expect=FAILED)
        self.assertIn("absent", done.stderr)
        self.assert_nothing_is_left()

    def test_images_that_do_not_fit_are_refused(self):
        tiny = "/dev/shm" if os.access("/dev/shm", os.W_OK) else self.scratch
        done = self.diskdump.run("bench", "--store", "null:", "--scratch", tiny, "--size",
                                 "65536G", "--batch-size", 4, "--block-size", "16M", base=False,
                                 expect=FAILED)
        self.assertIn("room", done.stderr)
        self.assertIn("--size", done.stderr)
        self.assertEqual([n for n in os.listdir(tiny) if n.startswith("diskdump-bench")
                          and os.stat(os.path.join(tiny, n)).st_uid == os.getuid()], [])


class Interruption(Bench):
    def interrupt_when(self, condition, size, *more):
        process = self.diskdump.start(*self.arguments(*more, size=size))
        self.assertTrue(wait_until(lambda: process.poll() is not None or condition(), 60, 0.002))
        self.assertIsNone(process.poll(), "it ended before it could be interrupted")
        process.send_signal(signal.SIGINT)
        done = self.diskdump.finish(process, expect=INTERRUPTED)
        self.assertNotIn("bench_summary", [e["event"] for e in done.events])
        self.assert_nothing_is_left()
        return done

    def scratch_files(self):
        return [f for _, _, files in os.walk(self.scratch) for f in files]

    def test_while_images_are_made(self):
        large = self.path("b")
        self.interrupt_when(lambda: "image-1" in self.scratch_files(), "4G", "--store",
                            f"pack:{large}")
        self.assertFalse(os.path.exists(large))

    def test_while_it_dumps(self):
        store = self.path("b")
        os.mkdir(store)
        self.interrupt_when(lambda: os.path.exists(os.path.join(store, ".blockstore")), "512M",
                            "--store", f"loose:{store}")
        self.assertEqual(os.listdir(store), [])

    def test_while_it_verifies(self):
        store = self.path("b")

        def restored():
            with open(out.name, "rb") as events:
                return b'"phase":"restore"' in events.read()

        with open(self.path("events"), "wb") as out:
            process = subprocess.Popen(
                self.diskdump.command(*self.arguments("--store", f"loose:{store}", size="128M")),
                stdout=out, stderr=subprocess.PIPE, env=self.diskdump.env, start_new_session=True)
            self.addCleanup(lambda: process.poll() is None and process.kill())
            self.assertTrue(wait_until(restored, 60, 0.002))
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, INTERRUPTED, errors)
        self.assertFalse(os.path.exists(store))
        self.assert_nothing_is_left()


class Page(Bench):
    def test_the_page_is_written_at_the_end_and_whole(self):
        page = self.path("bench.html")
        evil = self.path("<b>&\"x")
        self.bench("--store", f"pack:{evil}", "--store", "null:", "--html", page)
        with open(page, encoding="utf-8") as text:
            content = text.read()
        self.assertTrue(content.startswith("<!DOCTYPE html>"))
        self.assertTrue(content.endswith("</html>\n"))
        self.assertIn("&lt;b&gt;&amp;&quot;x", content)
        self.assertNotIn("<b>", content)
        self.assertEqual(re.findall(r"https?://|src=|href=|<script", content), [])
        self.assertEqual([n for n in os.listdir(self.folder) if n.endswith(".tmp")], [])

    def test_an_old_page_stays_until_the_new_one_is_whole(self):
        page = self.path("bench.html")
        with open(page, "w", encoding="utf-8") as old:
            old.write("old")
        self.bench("--store", f"pack:{self.folder}", "--html", page, expect=FAILED)
        with open(page, encoding="utf-8") as text:
            self.assertEqual(text.read(), "old")

    def test_a_browser_draws_it_for_a_phone_and_a_desk(self):
        browser = shutil.which("chromium") or shutil.which("chromium-browser")
        if browser is None:
            raise unittest.SkipTest("chromium is not installed")
        page = self.path("bench.html")
        self.bench("--store", f"loose:{self.path('l')}", "--store", f"pack:{self.path('p')}",
                   "--html", page)
        for columns in (390, 1280):
            picture = self.path(f"{columns}.png")
            subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu",
                            "--hide-scrollbars", f"--user-data-dir={self.path('profile')}",
                            f"--screenshot={picture}", f"--window-size={columns},2400",
                            "file://" + page],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           timeout=120)
            # Charts are large; a page without anything is a few kB.
            self.assertGreater(os.path.getsize(picture), 40_000)
        self.assert_no_browser_is_left()

    def assert_no_browser_is_left(self):
        profile = self.path("profile").encode()
        self.assertTrue(wait_until(lambda: not any(profile in read_proc(p, "cmdline")
                                                   for p in all_pids())))


if __name__ == "__main__":
    cases.main()
