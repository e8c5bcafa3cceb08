#!/usr/bin/env python3
"""First dump, unchanged dump and restore of an ext4 image over a loopback sshd, with the memory of both
ends: bench/dump.py [--original] [--size-mib N] [--rounds N] [--folder DIR] [--source DIR …]

The image and the store lie in DIR (default: /dev/shm). Each round starts with a fresh store. Prints a
line per round and the medians, and how loaded the machine was; nothing is judged here. `--original` takes
the image that the replaced Python tool was measured with: 3 GiB of ext4, 0.95 GB of it data. `ssh cat` over the same sshd stands beside it,
so that a figure says something on another machine.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/e2e"))

from fixture import DISKDUMP, Scenario, all_pids, read_proc, tool  # noqa: E402
from sshd import Sshd  # noqa: E402

MIB = 1 << 20


class Case(Scenario):
    """The folder and the clean-up of a scenario, without a test."""

    def runTest(self):
        """Nothing: unittest wants the name."""


# /usr/bin, /usr/include and /usr/lib/gcc came to this much where the original was measured; what a
# machine has less is taken from its libraries.
ORIGINAL_SIZE_MIB = 3072
ORIGINAL_DATA_BYTES = 950_000_000
ORIGINAL_SOURCES = ["/usr/bin", "/usr/include", "/usr/lib/gcc", "/usr/lib"]


def make_image(path, size_mib, sources, data_bytes):
    """An ext4 image that holds as much of `sources`, in turn, as fits."""
    tree = path + ".tree"
    os.mkdir(tree)
    left = data_bytes
    for source in sources:
        for folder, _, names in os.walk(source):
            for name in names:
                origin = os.path.join(folder, name)
                goal = os.path.join(tree, os.path.relpath(origin, "/"))
                if os.path.islink(origin) or not os.path.isfile(origin) or os.path.exists(goal):
                    continue
                left -= -(-os.path.getsize(origin) // 4096) * 4096
                if left < 0:
                    break
                os.makedirs(os.path.dirname(goal), exist_ok=True)
                shutil.copyfile(origin, goal)
            if left < 0:
                break
    subprocess.run([tool("mkfs.ext4"), "-q", "-d", tree, path, f"{size_mib}M"], check=True,
                   stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)


class PeakWatch(threading.Thread):
    """The largest VmHWM that any of some processes reached while it ran. (What wait4() tells includes
    the Python that was there before exec.)"""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids = pids
        self.peak_kib = 0
        self.stopped = threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(0.01):
            for pid in self.pids():
                if read_proc(pid, "comm").startswith(b"diskdump") or b"serve" in read_proc(pid, "cmdline"):
                    for line in read_proc(pid, "status").splitlines():
                        if line.startswith(b"VmHWM:"):
                            self.peak_kib = max(self.peak_kib, int(line.split()[1]))

    def stop(self):
        self.stopped.set()
        self.join()
        return self.peak_kib / 1024


def agents():
    """All processes that are agents."""
    return [pid for pid in all_pids() if read_proc(pid, "cmdline").split(b"\0")[1:2] == [b"serve"]]


def run(case, *arguments):
    """Runs diskdump; seconds, CPU seconds, peak RSS in MiB, its events."""
    command = [DISKDUMP, "--base", case.store, "--json", *arguments]
    read_end, write_end = os.pipe()
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=write_end, stdin=subprocess.DEVNULL)
    os.close(write_end)
    watch = PeakWatch(lambda: [process.pid])
    with os.fdopen(read_end) as out:
        events = [json.loads(line) for line in out]
    rss_mib = watch.stop()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"diskdump ended with {process.returncode}: {events}")
    return {"seconds": seconds, "cpu_s": usage.ru_utime + usage.ru_stime,
            "rss_mib": rss_mib, "events": events}


def one_round(case, sshd, image, options):
    shutil.rmtree(case.store)
    os.mkdir(case.store)
    figures = {}
    watch = PeakWatch(agents)
    for phase in ("first", "unchanged"):
        done = run(case, "dump", *sshd.arguments, *options, f"{sshd.host}:{image}", "--as", "bench")
        target = next(e for e in done.pop("events") if e["event"] == "target")
        figures[phase] = {**done, **{k: target[k] for k in ("bytes_wire", "blocks_stored",
                                                            "blocks_reused", "blocks_zero")}}
    figures["agent_rss_mib"] = watch.stop()
    out = os.path.join(case.folder, "restored.img")
    figures["restore"] = run(case, "restore", "bench", "-o", out)
    figures["restore"].pop("events")
    subprocess.run(["cmp", image, out], check=True)
    os.unlink(out)
    begin = time.monotonic()
    with open(out, "wb") as sink:
        subprocess.run(["ssh", "-F", sshd.client_config, sshd.host, "cat " + image], stdout=sink,
                       check=True)
    figures["ssh_cat_s"] = time.monotonic() - begin
    os.unlink(out)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", action="store_true", help="the replaced tool's image")
    parser.add_argument("--size-mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--source", nargs="*", default=["/usr/bin", "/usr/include", "/usr/lib/gcc"])
    parser.add_argument("--json", action="store_true", help="all figures as one JSON object")
    parser.add_argument("options", nargs="*", help="options of diskdump dump, after --")
    given = parser.parse_args()

    data_bytes = int(given.size_mib * MIB * 0.85)
    if given.original:
        given.size_mib, given.source, data_bytes = (ORIGINAL_SIZE_MIB, ORIGINAL_SOURCES,
                                                    ORIGINAL_DATA_BYTES)
    os.environ["TMPDIR"] = given.folder
    case = Case()
    case.setUp()
    try:
        sshd = Sshd(case)
        image = os.path.join(case.folder, "image")
        make_image(image, given.size_mib, given.source, data_bytes)
        image_bytes = os.path.getsize(image)
        held = os.stat(image).st_blocks * 512
        rounds = []
        for number in range(given.rounds):
            rounds.append(one_round(case, sshd, image, given.options))
            rounds[-1]["load"] = os.getloadavg()[0]
            if not given.json:
                print(f"round {number + 1}: " + "  ".join(
                    f"{p} {rounds[-1][p]['seconds']:.2f} s" for p in
                    ("first", "unchanged", "restore")) + f"  load {rounds[-1]['load']:.1f}",
                    flush=True)
    finally:
        case.doCleanups()

    result = {"image_bytes": image_bytes, "held_bytes": held, "rounds": rounds}
    if given.json:
        print(json.dumps(result))
        return
    print(f"\nimage {image_bytes / MIB:.0f} MiB, of it {held / MIB:.0f} MiB data; "
          f"medians of {given.rounds}")
    print("| phase | s | MB/s of image | CPU s (server) | RSS MiB (server) | wire MB |")
    print("|---|---|---|---|---|---|")
    for phase in ("first", "unchanged", "restore"):
        def median(key, name=phase):
            return statistics.median(r[name].get(key, 0) for r in rounds)
        print(f"| {phase} | {median('seconds'):.2f} | {image_bytes / median('seconds') / 1e6:.0f} "
              f"| {median('cpu_s'):.2f} | {median('rss_mib'):.1f} "
              f"| {median('bytes_wire') / 1e6:.3f} |")
    print(f"\nagent RSS {max(r['agent_rss_mib'] for r in rounds):.1f} MiB; `ssh cat` "
          f"{statistics.median(r['ssh_cat_s'] for r in rounds):.2f} s")


if __name__ == "__main__":
    main()
