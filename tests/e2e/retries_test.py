#!/usr/bin/env python3
"""What comes after a failure: further attempts that go on where the one before broke off, and later
runs that continue what an earlier one left."""

import os
import signal
import time

import images
import store_check
from cli import Diskdump
from fixture import cases, TRIMMED, Scenario, is_alive, loop_device, run, tool, wait_until
from sshd import Sshd

# Random bytes, sent raw: what crosses the wire is what they are.
SIZE = (48 if TRIMMED else 96) * images.MIB
# What a lost connection costs is a batch at most (10 MiB), which is less than a tenth of this.
LARGE = 160 * images.MIB


class Retried(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.source = images.random_image(SIZE)

    def relayed(self):
        """An sshd that is reached through a relay."""
        sshd = Sshd(self)
        relay = sshd.relayed()
        return sshd, relay

    def assert_good(self, done, attempts):
        event = done.target
        self.assertEqual(event["status"], "ok", done.text)
        self.assertEqual(event["attempts"], attempts)
        self.assertEqual(event["blocks_stored"] + event["blocks_reused"] + event["blocks_zero"] +
                         event["blocks_resumed"], event["blocks"])
        self.diskdump.restore("image", self.path("restored"), "--force")
        self.assert_same_content(self.source, self.path("restored"))
        self.assertEqual(store_check.check(self.store, sample=30), [])
        self.assert_store_is_tidy()
        return event

    def stored_blocks(self):
        return sum(name.endswith(".lz4") for _, _, names in os.walk(self.store) for name in names)

    def start_and_wait_for_blocks(self, *arguments):
        process = self.diskdump.start("dump", *arguments)
        begun = wait_until(lambda: process.poll() is not None or self.stored_blocks() > 60, 60)
        self.assertTrue(begun)
        self.assertIsNone(process.poll(), "the dump was over before the fault")
        return process


class WithinOneRun(Retried):
    def assert_told_as_event(self, done):
        """One attempt of three failed, somewhere behind a quarter of the image."""
        events = [event for event in done.events if event["event"] == "retry"]
        self.assertEqual(len(events), 1, done.text)
        event = events[0]
        self.assertEqual(set(event), {"event", "target", "name", "attempt", "attempts_max",
                                      "pause_seconds", "continues_at_bytes", "error"})
        self.assertEqual(event["target"], f"target:{self.source}")
        self.assertEqual(event["name"], "image")
        self.assertEqual((event["attempt"], event["attempts_max"]), (1, 3))
        self.assertGreater(event["pause_seconds"], 0)
        self.assertLessEqual(event["pause_seconds"], 60)
        self.assertGreater(event["continues_at_bytes"], LARGE // 4)
        self.assertLess(event["continues_at_bytes"], LARGE)
        self.assertEqual(event["continues_at_bytes"] % 131072, 0)
        self.assertRegex(event["error"], "target: .*connection")
        # In time: before the end of the target.
        kinds = [event["event"] for event in done.events]
        self.assertLess(kinds.index("retry"), kinds.index("target"))

    def test_a_cut_connection_goes_on_where_it_broke_off(self):
        self.source = images.random_image(LARGE)
        for transport in ("libssh2", "openssh"):
            with self.subTest(transport=transport):
                sshd, relay = self.relayed()
                relay.cut_after(LARGE // 2)
                done = self.diskdump.run("dump", *sshd.arguments, "--transport", transport,
                                         f"target:{self.source}", "--as", "image")
                self.assert_good(done, attempts=2)
                self.assertEqual(relay.connections, 2)
                self.assertLess(relay.bytes_to_client, 1.1 * LARGE)
                self.assertIn("attempt 1 of 3 failed", done.stderr)
                self.assert_told_as_event(done)
                # The next sub-test sends it all again.
                os.rename(self.store, self.path(f"store-{transport}"))
                os.mkdir(self.store)

    def test_killed_sessions_and_agents_are_replaced(self):
        sshd = Sshd(self)
        process = self.start_and_wait_for_blocks(*sshd.arguments, f"target:{self.source}", "--as",
                                                 "image")
        sshd.kill_sessions()
        time.sleep(0.3)
        self.assertTrue(wait_until(sshd.agents, 30), "no second attempt was made")
        for pid in sshd.agents():
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        done = self.diskdump.finish(process, expect=0)
        self.assertIn(done.target["attempts"], (2, 3))
        self.assert_good(done, done.target["attempts"])

    def test_the_python_agent_goes_on_as_well(self):
        self.source = images.random_image(LARGE)
        sshd, relay = self.relayed()
        relay.cut_after(LARGE // 2)
        done = self.diskdump.run("dump", *sshd.arguments, "--agent", "python",
                                 f"target:{self.source}", "--as", "image")
        self.assert_good(done, attempts=2)
        self.assertLess(relay.bytes_to_client, 1.1 * LARGE)

    def test_stalls_of_200_ms_are_no_failure(self):
        sshd, relay = self.relayed()
        process = self.start_and_wait_for_blocks(*sshd.arguments, f"target:{self.source}", "--as",
                                                 "image")
        for _ in range(5):
            relay.stall(0.2)
            time.sleep(0.02)
        self.assert_good(self.diskdump.finish(process, expect=0), attempts=1)

    def test_a_target_that_stands_still_is_left_and_tried_again(self):
        sshd = Sshd(self)
        process = self.start_and_wait_for_blocks(*sshd.arguments, "--timeout", "2",
                                                 f"target:{self.source}", "--as", "image")
        stopped = sshd.agents()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            done = self.diskdump.finish(process, expect=0)
        finally:
            for pid in stopped:
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)
        self.assertIn("not a byte from the target for 2 seconds", done.stderr)
        self.assert_good(done, attempts=2)

    def test_what_does_not_pass_is_not_tried_again(self):
        sshd = Sshd(self)
        done = self.diskdump.run("dump", *sshd.arguments, "target:/absent", expect=1)
        self.assertEqual(done.target["attempts"], 1)
        self.assertNotIn("attempt", done.stderr)

    def test_a_machine_that_is_away_fails_after_all_attempts(self):
        sshd = Sshd(self)
        arguments = sshd.arguments
        sshd.stop()
        done = self.diskdump.run("dump", *arguments, "--retries", "1", f"target:{self.source}",
                                 expect=1)
        self.assertEqual(done.target["attempts"], 2)
        self.assertRegex(done.target["error"], "(?i)refused")

    def test_a_target_that_stands_still_does_not_hold_up_its_twin(self):
        """Both have the same content: the one that waits gets the blocks that the other claimed."""
        sick, well = Sshd(self, host="sick"), Sshd(self, host="well")
        config = self.path("both")
        with open(config, "w", encoding="utf-8") as both:
            for sshd in (sick, well):
                with open(sshd.client_config, encoding="utf-8") as one:
                    both.write(one.read())
        process = self.start_and_wait_for_blocks(
            "-F", config, "--timeout", "60", "--retries", "0", f"sick:{self.source}", "--as", "a",
            f"well:{self.source}", "--as", "image")
        for pid in sick.agents():
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        manifest = wait_until(lambda: [m for m in self.manifests() if "image" in m] or
                              process.poll() is not None, 45)
        took = time.monotonic() - began
        process.send_signal(signal.SIGINT)
        for pid in sick.agents():
            os.kill(pid, signal.SIGKILL)
        self.diskdump.finish(process, expect=130)
        self.assertTrue(manifest, "the target that works waited for the one that does not")
        self.assertLess(took, 45)
        self.diskdump.restore("image", self.path("restored"))
        self.assert_same_content(self.source, self.path("restored"))


class InALaterRun(Retried):
    def interrupted(self, sshd, *options, number=signal.SIGINT):
        process = self.start_and_wait_for_blocks(*sshd.arguments, *options,
                                                 f"target:{self.source}", "--as", "image")
        process.send_signal(number)
        done = self.diskdump.finish(process, timeout=60)
        self.assertEqual(done.status, 130)
        return done

    def begin_a_store(self, name):
        self.store = self.path("store-" + name)
        os.mkdir(self.store)

    def test_an_interrupted_dump_is_continued(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number.name):
                sshd, relay = self.relayed()
                first = self.interrupted(sshd, number=number)
                self.assertIn("--resume", first.stderr)
                known = first.target["bytes_resumable"]
                self.assertGreater(known, 0)
                self.assertEqual(self.manifests(), [])
                carried = relay.bytes_to_client
                done = self.diskdump.run("dump", *sshd.arguments, "--resume",
                                         f"target:{self.source}", "--as", "image")
                event = self.assert_good(done, attempts=1)
                self.assertGreaterEqual(event["blocks_resumed"] * 131072, known)
                self.assertLess(relay.bytes_to_client - carried, SIZE - known + 4 * images.MIB)
                with open(self.path("store", event["manifest"]), encoding="ascii") as manifest:
                    self.assertIn("# resumed: the dump of ", manifest.read(1000))
                self.assertEqual(os.listdir(self.path("store", ".blockstore", "interrupted")), [])
                os.rename(self.store, self.path(f"store-{number.name}"))
                os.mkdir(self.store)

    def test_one_that_is_interrupted_after_a_retry_is_continued_as_well(self):
        sshd, relay = self.relayed()
        cut = 6 * images.MIB
        relay.cut_after(cut)
        # So slow that it would go on for long.
        process = self.diskdump.start("dump", *sshd.arguments, "--read-limit", "4M",
                                      f"target:{self.source}", "--as", "image")
        again = wait_until(lambda: process.poll() is not None or
                           relay.bytes_to_client > cut + 3 * images.MIB, 60)
        self.assertTrue(again)
        self.assertIsNone(process.poll())
        self.assertEqual(relay.connections, 2)
        carried = relay.bytes_to_client
        process.send_signal(signal.SIGINT)
        first = self.diskdump.finish(process, expect=130, timeout=60)
        self.assertLess(relay.bytes_to_client - carried, 12 * images.MIB)
        self.assertEqual(self.manifests(), [])
        self.assertEqual(first.target["attempts"], 2)
        self.assertIn("--resume", first.stderr)
        known = first.target["bytes_resumable"]
        self.assertGreater(known, cut // 2)
        done = self.diskdump.run("dump", *sshd.arguments, "--resume", f"target:{self.source}",
                                 "--as", "image")
        event = self.assert_good(done, attempts=1)
        self.assertGreaterEqual(event["blocks_resumed"] * 131072, known)

    def test_gc_in_between_takes_nothing_of_it(self):
        sshd = Sshd(self)
        self.interrupted(sshd)
        before = self.stored_blocks()
        self.diskdump.run("gc")
        os.remove(self.path("store", ".blockstore", "gc.lock"))
        self.assertGreaterEqual(self.stored_blocks(), before * 0.5)
        done = self.diskdump.run("dump", *sshd.arguments, "--resume", f"target:{self.source}",
                                 "--as", "image")
        self.assertGreater(self.assert_good(done, attempts=1)["blocks_resumed"], 0)

    def test_another_source_or_size_is_refused(self):
        for agent in ("native", "python"):
            with self.subTest(agent=agent):
                self.begin_a_store(agent)
                self.refuses_another_source_or_size("--agent", agent)

    def refuses_another_source_or_size(self, *options):
        sshd = Sshd(self)
        self.source = self.path("source")
        images.write(self.source, images.bytes_of(5, SIZE))
        self.interrupted(sshd, *options)
        resume = [*sshd.arguments, *options, "--resume", f"target:{self.source}", "--as", "image"]
        with open(self.source, "ab") as source:
            source.write(b"more")
        done = self.diskdump.run("dump", *resume, expect=1)
        self.assertRegex(done.target["error"], "(?i)bytes, and had")
        self.assertIn("without --resume", done.target["error"])
        self.assertEqual(done.target.get("bytes_resumable", 0), 0)
        self.assertNotIn("goes on behind them", done.stderr)
        # Another file of the same size in its place.
        with open(self.source, "r+b") as source:
            source.truncate(SIZE)
        os.rename(self.source, self.path("old"))
        images.write(self.source, images.bytes_of(6, SIZE))
        done = self.diskdump.run("dump", *resume, expect=1)
        self.assertRegex(done.target["error"], "inode=")
        self.assertEqual(self.manifests(), [])
        # Without it, a dump from the beginning, which takes the place of what was left.
        resume.remove("--resume")
        self.assert_good(self.diskdump.run("dump", *resume), attempts=1)
        self.assertEqual(os.listdir(os.path.join(self.store, ".blockstore", "interrupted")), [])
        os.remove(self.path("old"))

    def test_one_agent_continues_what_the_other_began(self):
        for first, then in (("native", "python"), ("python", "native")):
            with self.subTest(first=first, then=then):
                self.begin_a_store(first)
                sshd = Sshd(self)
                self.interrupted(sshd, "--agent", first)
                done = self.diskdump.run("dump", *sshd.arguments, "--agent", then, "--resume",
                                         f"target:{self.source}", "--as", "image")
                self.assertGreater(self.assert_good(done, attempts=1)["blocks_resumed"], 0)

    def test_another_device_of_the_same_size_is_refused(self):
        """One loop device after the other has the same number and size, over another file."""
        for agent in ("native", "python"):
            with self.subTest(agent=agent):
                self.begin_a_store(agent)
                sshd = Sshd(self)
                image = images.write(self.path("disk-" + agent), images.bytes_of(7, SIZE))
                self.source = device = loop_device(self, image, read_only=False)
                self.interrupted(sshd, "--agent", agent)
                other = images.write(self.path("another-" + agent), images.bytes_of(8, SIZE))
                run(tool("losetup"), "--detach", device)
                run(tool("losetup"), device, other)
                done = self.diskdump.run("dump", *sshd.arguments, "--agent", agent, "--resume",
                                         f"target:{device}", "--as", "image", expect=1)
                self.assertIn("backing_file=" + other, done.target["error"])
                self.assertEqual(self.manifests(), [])

    def test_without_an_interrupted_dump_it_is_a_dump(self):
        sshd = Sshd(self)
        done = self.diskdump.run("dump", *sshd.arguments, "--resume", f"target:{self.source}",
                                 "--as", "image")
        self.assertEqual(self.assert_good(done, attempts=1)["blocks_resumed"], 0)


if __name__ == "__main__":
    cases.main()
