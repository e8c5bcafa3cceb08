#!/usr/bin/env python3
"""Ends in the middle: of the agent, of the connection, of the server. A clear error, a store in which
everything is what it says, and no process that stays."""

import os
import signal

import images
import store_check
from cli import Diskdump
from fixture import (cases, IS_ROOT, TRIMMED, Scenario, descendants, describe_process, is_alive,
                     processes_of, read_proc, wait_until)
from sshd import Sshd

# Long enough to be met in the middle, whatever the speed: random bytes, sent raw.
SIZE = (128 if TRIMMED else 512) * images.MIB


class Fault(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.source = images.random_image(SIZE)

    def stored_files(self):
        return sum(len(names)
                   for _, _, names in os.walk(os.path.join(self.store, ".blockstore")))

    def start(self, *options, sshd=None, target="target", per_target=()):
        """A dump that has stored some blocks and is not through."""
        where = sshd.arguments if sshd else []
        # A store keeps the blocks of a dump that broke off: only what this one adds tells that it runs.
        before = self.stored_files()
        process = self.diskdump.start("dump", *where, "--retries", "0", *options,
                                      f"{target}:{self.source}",
                                      *per_target, "--as", "image")

        def some_are_stored():
            return process.poll() is not None or self.stored_files() > before + 40

        self.assertTrue(wait_until(some_are_stored, 60))
        self.assertIsNone(process.poll(), "the dump was over before the fault")
        return process

    def assert_broken_off(self, process, words):
        done = self.diskdump.finish(process, expect=1)
        self.assertRegex(done.error, words)
        self.assert_store_is_sound()
        return done

    def assert_store_is_sound(self):
        self.assertEqual(self.manifests(), [], "a manifest of half an image")
        self.assertEqual(store_check.check(self.store, sample=30), [])
        self.assert_store_is_tidy()

    def assert_next_dump_is_good(self, *arguments):
        event = self.diskdump.dump(*arguments, "--as", "image").target
        self.assertEqual(event["status"], "ok")
        self.diskdump.restore("image", self.path("restored"))
        self.assert_same_content(self.source, self.path("restored"))
        return event


class Ends(Fault):
    def test_the_agent_is_killed_half_way(self):
        for transport in ("libssh2", "openssh"):
            with self.subTest(transport=transport):
                sshd = Sshd(self)
                process = self.start("--transport", transport, sshd=sshd)
                for pid in sshd.agents():
                    os.kill(pid, signal.SIGKILL)
                self.assert_broken_off(process, "(?i)target.*(end|kill|signal|lost)")
                self.assertTrue(wait_until(lambda: not sshd.agents()))
        event = self.assert_next_dump_is_good(*sshd.arguments, f"target:{self.source}")
        self.assertGreater(event["blocks_reused"], 0, "blocks of a broken dump are sent again")

    def test_sshd_is_killed_half_way(self):
        for transport in ("libssh2", "openssh"):
            with self.subTest(transport=transport):
                sshd = Sshd(self)
                process = self.start("--transport", transport, sshd=sshd)
                agents = sshd.agents()
                self.assertTrue(agents)
                sshd.kill_sessions()
                self.assert_broken_off(process, "(?i)target.*(lost|closed|reset|end|connection)")
                left = wait_until(lambda: not [p for p in agents if is_alive(p)])
                self.assertTrue(left, "the agent outlives its connection")
                sshd.stop()
        self.assert_nothing_left()

    def test_a_local_agent_is_killed_half_way(self):
        process = self.start(target="localhost")
        for pid in descendants(process.pid):
            os.kill(pid, signal.SIGKILL)
        self.assert_broken_off(process, "(?i)localhost.*(end|kill|signal|lost)")
        self.assert_nothing_left()

    def test_the_server_is_killed_and_the_target_has_no_process_left(self):
        variants = [("native", "libssh2"), ("python", "libssh2"), ("native", "openssh")]
        for agent, transport in variants:
            with self.subTest(agent=agent, transport=transport):
                sshd = Sshd(self)
                process = self.start("--agent", agent, "--transport", transport, sshd=sshd)
                agents = sshd.agents()
                self.assertTrue(agents)
                process.kill()
                process.wait()
                gone = wait_until(lambda: not [p for p in agents if is_alive(p)] and
                                  not sshd.agents(), 20)
                self.assertTrue(gone, [describe_process(p) for p in agents if is_alive(p)])
                # SIGKILL cannot be cleaned up after: temporary files may stay, wrong blocks may not.
                self.assertEqual(self.manifests(), [])
                self.assertEqual(store_check.check(self.store, sample=30), [])
                sshd.stop()
        sshd = Sshd(self)
        self.assert_next_dump_is_good(*sshd.arguments, f"target:{self.source}")
        sshd.stop()
        self.assertEqual(processes_of(self.folder), [])

    def test_the_server_is_killed_and_an_agent_of_sudo_goes_too(self):
        user = self.user(sudo="nopasswd")
        for transport in ("libssh2", "openssh"):
            with self.subTest(transport=transport):
                sshd = Sshd(self, user=user.name)
                process = self.start("--transport", transport, sshd=sshd, per_target=["--sudo"])
                agents = sshd.agents()
                self.assertTrue([p for p in agents if read_proc(p, "comm").startswith(b"sudo")])
                process.kill()
                process.wait()
                gone = wait_until(lambda: not [p for p in agents if is_alive(p)], 20)
                self.assertTrue(gone, [describe_process(p) for p in agents if is_alive(p)])

    def test_an_interrupted_server_ends_with_130_and_leaves_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number.name):
                sshd = Sshd(self)
                process = self.start(sshd=sshd)
                agents = sshd.agents()
                process.send_signal(number)
                done = self.diskdump.finish(process, timeout=30)
                if number == signal.SIGINT:
                    self.assertEqual(done.status, 130)
                else:
                    self.assertIn(done.status, (130, 143))
                self.assert_store_is_sound()
                self.assertTrue(wait_until(lambda: not [p for p in agents if is_alive(p)]))
                sshd.stop()
        self.assert_nothing_left()

    def test_the_output_goes_away(self):
        process = self.start(target="localhost")
        process.stdout.close()
        process.stderr.close()
        process.wait(120)
        self.assertIn(process.returncode, (0, 1, 141))
        self.assertTrue(wait_until(lambda: not processes_of(self.folder)))

    def test_a_stopped_agent_is_noticed(self):
        sshd = Sshd(self)
        process = self.start("--timeout", "3", sshd=sshd)
        agents = sshd.agents()
        for pid in agents:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.assert_broken_off(process, "(?i)target.*(time|silen|seconds)")
        finally:
            for pid in agents:
                if is_alive(pid):
                    os.kill(pid, signal.SIGCONT)


class Restores(Fault):
    def wait_for_output(self, process):
        """It has begun when something of its output is there."""
        started = wait_until(lambda: process.poll() is not None or
                             set(os.listdir(self.folder)) - {"store", "cache", ".cache"}, 20, 0.001)
        self.assertTrue(started)

    def test_a_killed_restore_leaves_no_image_under_the_final_name(self):
        self.diskdump.dump(f"localhost:{self.source}", "--as", "image")
        out = self.path("out")
        process = self.diskdump.start("restore", "image", "-o", out)
        self.wait_for_output(process)
        process.kill()
        process.wait()
        if os.path.exists(out):
            self.assert_same_content(self.source, out)

    def test_an_interrupted_restore_leaves_no_file(self):
        self.diskdump.dump(f"localhost:{self.source}", "--as", "image")
        process = self.diskdump.start("restore", "image", "-o", self.path("out"))
        self.wait_for_output(process)
        process.send_signal(signal.SIGINT)
        done = self.diskdump.finish(process, timeout=60)
        if done.status == 0:
            self.assert_same_content(self.source, self.path("out"))
        else:
            self.assertEqual(done.status, 130)
            self.assertEqual(set(os.listdir(self.folder)) - {"cache", ".cache"}, {"store"})


if __name__ == "__main__":
    cases.main()
