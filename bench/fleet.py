#!/usr/bin/env python3
"""Many targets at once over a loopback sshd: bench/fleet.py [--folder DIR] [--size-mib N] [--counts N …]
[--fairness] [--rounds N]

Identical targets: the same image under so many host names, each with a connection and an agent of its own;
seconds, bytes on all wires, peak RSS of the server, and whether every image restores. --fairness: fifteen small
targets of different content alone, and beside one that has ten times the data of each. Image and store lie in
DIR (default: /dev/shm). Nothing is judged here.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/e2e"))

from dump import Case, MIB, run  # noqa: E402
from fixture import DISKDUMP  # noqa: E402
from sshd import Sshd  # noqa: E402


def make_image(path, size_bytes, sources):
    """Files of this machine one behind the other: data that shrinks as data on disks does."""
    with open(path, "wb") as image:
        for source in sources:
            for folder, _, names in sorted(os.walk(source)):
                for name in sorted(names):
                    origin = os.path.join(folder, name)
                    left = size_bytes - image.tell()
                    if left == 0:
                        return
                    if os.path.isfile(origin) and not os.path.islink(origin):
                        with open(origin, "rb") as one:
                            image.write(one.read(left))
        sys.exit(f"{sources} hold less than {size_bytes} bytes")


def many_hosts(case, sshd, names):
    """An ssh_config in which one server has many names."""
    with open(sshd.client_config, encoding="utf-8") as config:
        lines = config.read().splitlines()
    path = case.path("ssh_config")
    with open(path, "w", encoding="utf-8") as config:
        config.write("\n".join(["Host " + " ".join(names), *lines[1:]]) + "\n")
    return path


def fresh_store(case):
    shutil.rmtree(case.store)
    os.mkdir(case.store)


def same_bytes(case, manifest, image):
    restore = subprocess.Popen([DISKDUMP, "--base", case.store, "-q", "restore", manifest],
                               stdout=subprocess.PIPE)
    same = subprocess.run(["cmp", "-", image], stdin=restore.stdout, check=False).returncode == 0
    restore.stdout.close()
    return restore.wait() == 0 and same


def identical(case, sshd, image, count, rounds, fresh=fresh_store):
    """`fresh(case)` empties the case's store."""
    names = [f"t{i}" for i in range(count)]
    config = many_hosts(case, sshd, names)
    seconds, wire, rss = [], [], []
    for number in range(rounds):
        fresh(case)
        done = run(case, "dump", "-F", config, "-j", str(count), *[f"{n}:{image}" for n in names])
        targets = [e for e in done["events"] if e["event"] == "target"]
        seconds.append(done["seconds"])
        wire.append(sum(t["bytes_wire"] for t in targets))
        rss.append(done["rss_mib"])
        if number == 0:
            bad = [t["manifest"] for t in targets if not same_bytes(case, t["manifest"], image)]
            if bad:
                sys.exit(f"these do not restore: {bad}")
    return {"targets": count, "seconds": statistics.median(seconds),
            "wire_mb": statistics.median(wire) / 1e6, "rss_mib": statistics.median(rss)}


def fairness(case, sshd, sources, small_mib, rounds):
    """How long the last of the small ones takes, alone and beside the large one."""
    names = [f"t{i}" for i in range(16)]
    config = many_hosts(case, sshd, names)
    whole = case.path("whole")
    make_image(whole, 25 * small_mib * MIB, sources)
    images = []
    with open(whole, "rb") as data:
        for i in range(16):
            images.append(case.path(f"image{i}"))
            with open(images[-1], "wb") as image:
                shutil.copyfileobj(data, image) if i == 15 else image.write(data.read(small_mib * MIB))
    os.unlink(whole)
    small = [f"t{i}:{images[i]}" for i in range(15)]
    figures = {"alone": [], "beside": []}
    for _ in range(rounds):
        for kind, targets in (("alone", small), ("beside", [f"t15:{images[15]}", *small])):
            fresh_store(case)
            done = run(case, "dump", "-F", config, *targets)
            figures[kind].append(max(e["seconds"] for e in done["events"]
                                     if e["event"] == "target" and not e["target"].startswith("t15:")))
    return {kind: statistics.median(all_of) for kind, all_of in figures.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--size-mib", type=int, default=512)
    parser.add_argument("--counts", type=int, nargs="*", default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fairness", action="store_true")
    parser.add_argument("--small-mib", type=int, default=32)
    parser.add_argument("--source", nargs="*", default=["/usr/lib", "/usr/bin", "/usr/share"])
    given = parser.parse_args()
    os.environ["TMPDIR"] = given.folder
    case = Case()
    case.setUp()
    try:
        sshd = Sshd(case, options=["MaxStartups 1000", "MaxSessions 100"])
        if given.fairness:
            times = fairness(case, sshd, given.source, given.small_mib, given.rounds)
            print(f"15 small targets alone: the last after {times['alone']:.2f} s; beside one with ten "
                  f"times the data: {times['beside']:.2f} s, {times['beside'] / times['alone']:.2f} x")
            return
        image = case.path("image")
        make_image(image, given.size_mib * MIB, given.source)
        print(f"load {os.getloadavg()[0]:.1f}\n| targets | s | MB on all wires | x one | RSS MiB | at most |")
        one = None
        for count in given.counts:
            done = identical(case, sshd, image, count, given.rounds)
            one = one or done
            bound = 48 + count * (11 + 2)  # limits.hpp: server_memory_bytes_max(), batches of 10 MiB
            print(f"| {count} | {done['seconds']:.2f} | {done['wire_mb']:.1f} | "
                  f"{done['wire_mb'] / one['wire_mb']:.3f} | {done['rss_mib']:.1f} | {bound} |", flush=True)
        print(f"load {os.getloadavg()[0]:.1f}")
    finally:
        case.doCleanups()


if __name__ == "__main__":
    main()
