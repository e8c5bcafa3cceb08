#!/usr/bin/env python3
"""First and unchanged dumps over a long way, beside none: bench/far.py [--mib N] [--round-trips MS …]
[--batch-sizes N …] [--rounds N] [--disk DIR]

N MiB of random bytes on tmpfs are dumped into packs on a disk, over a loopback sshd behind delay_proxy. Connecting takes
ten round trips or so, whatever the image is: an empty file is dumped as well, and the rate is told without what that
took. All round trips in turn within each round; medians. Needs `ninja -C build src/cli/diskdump bench/delay_proxy`.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/e2e"))

import images  # noqa: E402
from delay_proxy import DelayProxy  # noqa: E402
from dump import Case  # noqa: E402
from fixture import BUILD, DISKDUMP  # noqa: E402
from sshd import Sshd  # noqa: E402

PHASES = ("empty", "first", "unchanged")


def dump(store, config, sshd, path, name, options):
    begin = time.monotonic()
    subprocess.run([DISKDUMP, "--base", store, "-q", "dump", "-F", config, f"{sshd.host}:{path}",
                    "--as", name, *options], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def one_round(store, sshd, paths, round_trip_ms, options):
    shutil.rmtree(store, ignore_errors=True)
    subprocess.run([DISKDUMP, "--base", store, "-q", "init", "--format", "pack"], check=True)
    os.sync()
    proxy = DelayProxy(sshd.port, round_trip_ms)
    try:
        config = proxy.client_config(sshd)
        # The agent is there from the second run on.
        dump(store, config, sshd, paths["empty"], "empty", options)
        return {"empty": dump(store, config, sshd, paths["empty"], "empty", options),
                "first": dump(store, config, sshd, paths["image"], "image", options),
                "unchanged": dump(store, config, sshd, paths["image"], "image", options)}
    finally:
        proxy.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--round-trips", type=int, nargs="+", default=[0, 100], metavar="MS")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[80], metavar="BLOCKS")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--disk", default=os.path.join(BUILD, "bench"))
    given = parser.parse_args()

    os.environ["TMPDIR"] = "/dev/shm"
    os.makedirs(given.disk, exist_ok=True)
    store = tempfile.mkdtemp(prefix="far-", dir=given.disk)
    case = Case()
    case.setUp()
    try:
        sshd = Sshd(case)
        paths = {"empty": images.write(case.path("empty"), b""), "image": case.path("image")}
        with open(paths["image"], "wb") as image:
            for _ in range(given.mib):
                image.write(os.urandom(1 << 20))
        records = {}
        for _ in range(given.rounds):
            for batch in given.batch_sizes:
                for ms in given.round_trips:
                    record = one_round(store, sshd, paths, ms, ["--batch-size", str(batch)])
                    records.setdefault((batch, ms), []).append(record)
    finally:
        case.doCleanups()
        shutil.rmtree(store, ignore_errors=True)

    print(f"{given.mib} MiB of random bytes, medians of {given.rounds}, load {os.getloadavg()[0]:.1f}\n")
    print("| batch, blocks | round trip, ms | empty file, s | first dump, s | unchanged, s | unchanged without connecting, MB/s |\n"
          "|---|---|---|---|---|---|")
    for (batch, ms), of_one in records.items():
        empty, first, unchanged = (statistics.median(r[phase] for r in of_one) for phase in PHASES)
        rate = (given.mib << 20) / 1e6 / (unchanged - empty)
        print(f"| {batch} | {ms} | {empty:.2f} | {first:.2f} | {unchanged:.2f} | {rate:.0f} |")


if __name__ == "__main__":
    main()
