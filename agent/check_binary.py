#!/usr/bin/env python3
"""Checks that the agent needs nothing of its target: no shared library, no interpreter, any address;
and that it stays small enough to upload over a slow line."""
import os
import subprocess
import sys


def readelf(*args):
    return subprocess.run(["readelf", *args], check=True, stdout=subprocess.PIPE).stdout.decode()


def main():
    path, bytes_max = sys.argv[1], int(sys.argv[2])
    size = os.stat(path).st_size
    checks = {
        "at most %d bytes" % bytes_max: size <= bytes_max,
        "needs no shared library": "(NEEDED)" not in readelf("-d", path),
        "needs no dynamic loader": "INTERP" not in readelf("-lW", path),
        "is position-independent": "DYN (" in readelf("-hW", path),
        "is stripped": ".symtab" not in readelf("-SW", path),
    }
    print("%s: %d bytes" % (path, size))
    for what, holds in checks.items():
        print("%s: %s" % ("ok" if holds else "FAILED", what))
    passed = sum(checks.values())
    print("[cases] %d passed, %d failed, 0 skipped" % (passed, len(checks) - passed))
    return 0 if passed == len(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
