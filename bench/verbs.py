#!/usr/bin/env python3
"""What the verbs that read a store take: verbs.py [--blocks N] [--images N] [--rounds N] [--folder DIR]
         [--format loose|pack]

A store of N blocks of 4 KiB, half of each compressible, named by several images that differ in 1 %.
Prints the median wall and CPU time and the peak memory of each verb. DISKDUMP: the program."""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DISKDUMP = os.environ.get("DISKDUMP", os.path.join(HERE, "../build/src/cli/diskdump"))
BLOCK = 4096
VERBS = (["list"], ["info", "image-sda"], ["info", "small-sda"], ["diff", "image-sda~1", "image-sda"],
         ["status"])


def run(*arguments):
    """wall seconds, CPU seconds, peak MiB"""
    began = time.monotonic()
    child = subprocess.Popen([DISKDUMP, *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{arguments} ended with {status}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--blocks", type=int, default=100_000)
    options.add_argument("--images", type=int, default=5)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--folder", default="/dev/shm")
    options.add_argument("--format", choices=("loose", "pack"), default="pack")
    o = options.parse_args()
    folder = tempfile.mkdtemp(prefix="diskdump-bench-", dir=o.folder)
    try:
        store, image = os.path.join(folder, "store"), os.path.join(folder, "image")
        pick = random.Random(1)
        with open(image, "wb") as out:
            for _ in range(o.blocks):
                out.write(pick.randbytes(BLOCK // 2) + bytes(BLOCK // 2))
        run("--base", store, "init", "--format", o.format, "--block-size", BLOCK, "-q")
        for version in range(o.images):
            if version > 0:
                with open(image, "r+b") as out:
                    for _ in range(o.blocks // 100):
                        out.seek(pick.randrange(o.blocks) * BLOCK)
                        out.write(pick.randbytes(BLOCK // 2))
            run("--base", store, "import", image, "--as", "image", "--date", f"2026-01-{version + 1:02}",
                "--block-size", BLOCK, "--durability", "none", "-q")
        os.truncate(image, 100 * BLOCK)
        run("--base", store, "import", image, "--as", "small", "--block-size", BLOCK, "-q")
        os.unlink(image)
        print(f"{o.format}: {o.blocks} blocks, {o.images} images of all of them, one of 100; "
              f"medians of {o.rounds}\n")
        print("| verb | wall s | CPU s | RSS MiB |\n|---|---|---|---|")
        for verb in VERBS:
            rounds = [run("--base", store, *verb) for _ in range(o.rounds)]
            wall, cpu, rss = (statistics.median(r[i] for r in rounds) for i in range(3))
            print(f"| {' '.join(verb)} | {wall:.3f} | {cpu:.3f} | {rss:.1f} |")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
