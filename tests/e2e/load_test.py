#!/usr/bin/env python3
"""How much a dump takes of the machine that it reads: priorities and threads of the agent, as its
system sees them; limits of rates, each with a whole dump. How well a rate is kept is measured by
bench/rates.py."""

import ctypes
import os

import images
import store_check
from cli import Diskdump
from fixture import Scenario, cases, read_proc, wait_until
from sshd import Sshd

IOPRIO_GET = {"x86_64": 252, "aarch64": 31}
IOPRIO_CLASS_IDLE = 3
NICE_FIELD = 18  # of /proc/PID/stat, counted from the state's 2 as in proc(5) minus one


def threads_of(pid):
    """Its own threads: the kernel's workers of its io_uring are none of its choice."""
    names = os.listdir(f"/proc/{pid}/task")
    return [int(n) for n in names
            if not read_proc(pid, f"task/{n}/comm").startswith(b"iou-")]


def nice_of(pid, thread):
    stat = read_proc(pid, f"task/{thread}/stat").rpartition(b")")[2].split()
    return int(stat[NICE_FIELD - 2])


def io_class_of(thread):
    number = IOPRIO_GET[os.uname().machine]
    return ctypes.CDLL(None, use_errno=True).syscall(number, 1, thread) >> 13


class Load(Scenario):
    AGENTS = ("native", "python")

    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)
        self.source = images.write(self.path("image"), images.bytes_of(1, 20 * images.MIB))
        self.sshd = Sshd(self)

    def agent(self):
        """The running agent below the sshd, and none of the shells around it."""
        def found():
            for pid in self.sshd.agents():
                words = read_proc(pid, "cmdline").split(bytes(1))
                if (words[0].endswith(b"/agent") and b"serve" in words) or \
                        words[0].startswith(b"python"):
                    # It has begun to read: it has opened the image.
                    folder = f"/proc/{pid}/fd"
                    try:
                        if any(os.readlink(f"{folder}/{fd}") == self.source
                               for fd in os.listdir(folder)):
                            return pid
                    except OSError:
                        pass
            return None

        pid = wait_until(found, 30)
        self.assertTrue(pid, "the agent does not run")
        return pid

    def watched(self, look, *options):
        """What `look(pid)` says of the agent of a slow dump; the dump is then ended."""
        process = self.diskdump.start("dump", *self.sshd.arguments, "--read-limit", "1M", *options,
                                      f"target:{self.source}")
        try:
            return look(self.agent())
        finally:
            process.terminate()
            self.diskdump.finish(process, expect=130)
            wait_until(lambda: not self.sshd.agents())

    def priorities(self, pid):
        return {(nice_of(pid, t), io_class_of(t)) for t in threads_of(pid)}

    def thread_count(self, pid):
        """Once it has stood still: they are started one by one."""
        counts = []

        def still():
            counts.append(len(threads_of(pid)))
            return len(counts) > 20 and len(set(counts[-20:])) == 1

        self.assertTrue(wait_until(still, 10, 0.05))
        return counts[-1]

    def test_nice_lowers_all_threads_of_the_agent(self):
        before = os.nice(0)
        for agent in self.AGENTS:
            with self.subTest(agent=agent):
                kind = ["--agent", agent]
                self.assertEqual(self.watched(self.priorities, *kind, "--nice"),
                                 {(19, IOPRIO_CLASS_IDLE)})
                without = self.watched(self.priorities, *kind)
                self.assertEqual({nice for nice, _ in without}, {before})
                self.assertNotIn(IOPRIO_CLASS_IDLE, {io for _, io in without})

    def test_agent_threads(self):
        cores = len(os.sched_getaffinity(0))
        if cores == 1:
            self.skipTest("one core")
        # Per core the native agent has a worker, the one in Python two (digest, compress).
        for agent, each in (("native", 1), ("python", 2)):
            with self.subTest(agent=agent):
                kind = ["--agent", agent]
                most = self.watched(self.thread_count, *kind)
                one = self.watched(self.thread_count, *kind, "--agent-threads", "1")
                self.assertEqual(most - one, each * (cores - 1))
                self.assertEqual(self.watched(self.thread_count, *kind, "--agent-threads", "64"),
                                 most)

    def test_a_whole_dump_within_each_limit(self):
        for number, limit in enumerate((["--read-limit", "50M"], ["--read-limit-total", "60M"],
                                        ["--wire-limit", "50M"], ["--wire-limit-total", "60M"],
                                        ["--nice", "--agent-threads", "1"])):
            for agent in self.AGENTS:
                with self.subTest(limit=limit, agent=agent):
                    names = [f"{agent}{number}{which}" for which in "ab"]
                    targets = []
                    for which, name in enumerate(names):
                        image = images.write(self.path(name),
                                             images.bytes_of(100 + 2 * number + which,
                                                             3 * images.MIB + 17))
                        targets += [f"target:{image}", "--as", name]
                    done = self.diskdump.dump(*self.sshd.arguments, *limit, "--agent", agent,
                                              *targets)
                    self.assertEqual([t["status"] for t in done.targets], ["ok", "ok"])
                    for name in names:
                        out = self.path("restored")
                        self.diskdump.restore(name, out)
                        self.assert_same_content(self.path(name), out)
                        os.unlink(out)
        self.assertEqual(store_check.check(self.store, sample=40), [])
        self.assert_nothing_left()

    def test_a_rate_that_shows_no_life_is_refused(self):
        image = f"target:{self.source}"
        done = self.diskdump.dump(*self.sshd.arguments, "--read-limit", "1000", image, expect=2)
        self.assertIn("--read-limit", done.error)
        done = self.diskdump.dump(*self.sshd.arguments, "--wire-limit-total", "9000", image,
                                  "target:/other", expect=2)
        self.assertIn("2 targets", done.error)


if __name__ == "__main__":
    cases.main()
