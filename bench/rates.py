#!/usr/bin/env python3
"""How well rates are kept: bench/rates.py [--agent native|python] [--transport libssh2|openssh]

First dumps of random bytes over a loopback sshd, one target or three at once, each with one limit.
Prints the rate that came out beside the one that was asked for; nothing is judged here. The rate is
taken between the start and the end of each target as diskdump tells them, and for all together over
the whole run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/e2e"))

from fixture import DISKDUMP, Scenario  # noqa: E402
from sshd import Sshd  # noqa: E402

MIB = 1 << 20
RATE = 8 * MIB
SECONDS = 10  # that a dump within the limit takes


class Case(Scenario):
    """The folder and the clean-up of a scenario, without a test."""

    def runTest(self):
        """Nothing: unittest wants the name."""


def dump(case, sshd, images, options):
    shutil.rmtree(case.store)
    os.mkdir(case.store)
    targets = []
    for number, image in enumerate(images):
        targets += [f"{sshd.host}:{image}", "--as", f"image{number}"]
    begin = time.monotonic()
    done = subprocess.run([DISKDUMP, "--base", case.store, "--json", "dump", *sshd.arguments,
                           *options, *targets], stdout=subprocess.PIPE, check=True)
    seconds = time.monotonic() - begin
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return seconds, [e for e in events if e["event"] == "target"]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", default="native")
    parser.add_argument("--transport", default="libssh2")
    parser.add_argument("--folder", default="/dev/shm")
    given = parser.parse_args()
    os.environ["TMPDIR"] = given.folder
    case = Case()
    case.setUp()
    try:
        sshd = Sshd(case)
        images = []
        # Three that differ in length, so that what is shared has to be shared anew.
        for number, share in enumerate((1 / 6, 1 / 3, 1 / 2)):
            images.append(case.path(f"part{number}"))
            with open(images[-1], "wb") as out:
                out.write(os.urandom(int(RATE * SECONDS * share)))
        whole = case.path("whole")
        with open(whole, "wb") as out:
            out.write(os.urandom(RATE * SECONDS))
        common = ["--agent", given.agent, "--transport", given.transport]
        print(f"agent {given.agent}, {given.transport}, {RATE / 1e6:.1f} MB/s asked for, load "
              f"{os.getloadavg()[0]:.1f}")
        print("| limit | targets | s | MB/s | of what was asked for |\n|---|---|---|---|---|")
        for option, paths in (("--read-limit", [whole]), ("--wire-limit", [whole]),
                              ("--read-limit-total", images), ("--wire-limit-total", images)):
            seconds, targets = dump(case, sshd, paths, [*common, option, str(RATE)])
            key = "bytes_wire" if "wire" in option else "bytes"
            if len(targets) == 1:
                seconds = targets[0]["seconds"]
            rate = sum(t[key] for t in targets) / seconds
            print(f"| `{option}` | {len(targets)} | {seconds:.2f} | {rate / 1e6:.2f} "
                  f"| {100 * rate / RATE:.1f} % |", flush=True)
    finally:
        case.doCleanups()


if __name__ == "__main__":
    main()
