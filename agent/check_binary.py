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
    failures = []
    size = os.stat(path).st_size
    if size > bytes_max:
        failures.append("%d bytes, more than %d" % (size, bytes_max))
    if "(NEEDED)" in readelf("-d", path):
        failures.append("needs a shared library")
    if "INTERP" in readelf("-lW", path):
        failures.append("needs a dynamic loader")
    if "DYN (" not in readelf("-hW", path):
        failures.append("is not position-independent")
    if ".symtab" in readelf("-SW", path):
        failures.append("is not stripped")
    print("%s: %d bytes: %s" % (path, size, "; ".join(failures) or "static, PIE, stripped"))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
