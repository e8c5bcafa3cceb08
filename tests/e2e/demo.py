#!/usr/bin/env python3
"""What `./bootstrap demo` shows: demo.py DISKDUMP

Makes an ext4 image out of this machine's own files, dumps it twice into a new store, restores it and
compares. Everything lives in one temporary folder, which is removed; nothing is mounted, no other
machine is asked, and no rights are needed.
"""

import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

IMAGE_BYTES_MIN = 64 << 20
# What the files may take, so that the image stays small enough for anybody's /tmp.
FILES_BYTES_MAX = 96 << 20
CANDIDATES = ("/usr/include", "/usr/share/doc", "/usr/lib/python3", "/usr/share/perl", "/usr/bin")


def bytes_below(folder, limit):
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size + 4096
            except OSError:
                pass
        if total > limit:
            break
    return total


def copy_some(folder):
    """Copies files of this machine that anybody may read, up to FILES_BYTES_MAX."""
    taken = 0
    for candidate in CANDIDATES:
        for where, _, names in os.walk(candidate):
            for name in names:
                source = os.path.join(where, name)
                if os.path.islink(source) or not os.access(source, os.R_OK):
                    continue
                size = os.path.getsize(source)
                if taken + size > FILES_BYTES_MAX:
                    return taken
                target = os.path.join(folder, source.lstrip("/"))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copyfile(source, target)
                taken += size
    return taken


def run(command):
    print("\n$ " + " ".join(os.path.basename(w) if i == 0 else w for i, w in enumerate(command)))
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout)
        sys.exit(f"demo: {' '.join(command)} ended with status {done.returncode}")
    return done.stdout, time.monotonic() - start


def dump(program, store, image):
    out, _ = run([program, "--base", store, "--json", "dump", f"localhost:{image}", "--as", "demo"])
    events = [json.loads(line) for line in out.splitlines()]
    target = next(e for e in events if e["event"] == "target")
    speed = target["bytes"] / max(target["seconds"], 1e-9) / 1e6
    print(f"  {target['bytes'] / 1e6:.0f} MB in {target['seconds']:.2f} s ({speed:.0f} MB/s); "
          f"{target['blocks']} blocks: {target['blocks_stored']} stored, "
          f"{target['blocks_reused']} there already, {target['blocks_zero']} zeros; "
          f"{target['bytes_wire'] / 1e6:.2f} MB from agent to store and back")
    return target


def main():
    program = os.path.abspath(sys.argv[1])
    mkfs = shutil.which("mkfs.ext4", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if mkfs is None:
        sys.exit("demo: mkfs.ext4 is not installed (package e2fsprogs)")
    with tempfile.TemporaryDirectory(prefix="diskdump-demo-") as folder:
        files, image, store, restored = (os.path.join(folder, name) for name in
                                         ("files", "disk.img", "store", "restored.img"))
        os.mkdir(files)
        os.mkdir(store)
        print("An ext4 image with files of this machine:")
        taken = copy_some(files)
        size = max(IMAGE_BYTES_MIN, (bytes_below(files, 1 << 40) * 5 // 4 + (8 << 20)) >> 20 << 20)
        with open(image, "wb") as out:
            out.truncate(size)
        run([mkfs, "-q", "-F", "-d", files, image])
        print(f"  {size / 1e6:.0f} MB, with {taken / 1e6:.0f} MB in files")

        first = dump(program, store, image)
        second = dump(program, store, image)
        print(f"  the second dump stored {second['blocks_stored']} blocks")
        listing, _ = run([program, "--base", store, "list"])
        print("  " + "\n  ".join(listing.splitlines()))
        _, seconds = run([program, "--base", store, "restore", "demo", "-o", restored])
        print(f"  {size / seconds / 1e6:.0f} MB/s")
        print(f"\n$ cmp {image} {restored}")
        if not filecmp.cmp(image, restored, shallow=False):
            sys.exit("demo: the restored image DIFFERS")
        print("  equal, byte for byte")
        if second["blocks_stored"] != 0 or first["blocks_stored"] == 0:
            sys.exit("demo: the second dump was not deduplicated")
    print("\nAll of it was in a temporary folder, which is gone again.")


if __name__ == "__main__":
    main()
