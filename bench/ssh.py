#!/usr/bin/env python3
"""bench_ssh over a loopback sshd of its own: bench/ssh.py [MIB] [ROUNDS]

`ninja -C build bench/bench_ssh` builds the program; it says what it measures.
"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/e2e"))

from fixture import BUILD, Scenario  # noqa: E402
from sshd import Sshd  # noqa: E402


class Case(Scenario):
    """The folder and the clean-up of a scenario, without a test."""

    def runTest(self):
        """Nothing: unittest wants the name."""


def main():
    case = Case()
    case.setUp()
    try:
        sshd = Sshd(case)
        print(f"load before: {os.getloadavg()[0]:.1f}", flush=True)
        subprocess.run([os.path.join(BUILD, "bench/bench_ssh"), sshd.host, sshd.client_config,
                        *sys.argv[1:]], check=True)
    finally:
        case.doCleanups()


if __name__ == "__main__":
    main()
