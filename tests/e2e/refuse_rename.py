#!/usr/bin/env python3
"""Runs a command for which every file system is like NFS, without renames that do not replace; with
`links` also like exFAT, without hard links: refuse_rename.py flag|links COMMAND…"""

import errno
import platform
import sys

from refuse_uring import CALL_NUMBER, JEQ, LD_ABS, RET, RET_ALLOW, RET_ERRNO, instruction, run_filtered

RENAMEAT2, LINKAT = {"x86_64": (316, 265), "aarch64": (276, 37)}[platform.machine()]
FLAGS = 16 + 4 * 8  # the fifth argument of a call


def main():
    of_link = RET_ERRNO | errno.EPERM if sys.argv[1] == "links" else RET_ALLOW
    program = (instruction(LD_ABS, 0, 0, CALL_NUMBER) +
               instruction(JEQ, 3, 0, LINKAT) +
               instruction(JEQ, 0, 4, RENAMEAT2) +
               instruction(LD_ABS, 0, 0, FLAGS) +
               instruction(JEQ, 2, 1, 0) +
               instruction(RET, 0, 0, of_link) +
               instruction(RET, 0, 0, RET_ERRNO | errno.EINVAL) +
               instruction(RET, 0, 0, RET_ALLOW))
    run_filtered(program, sys.argv[2:])


if __name__ == "__main__":
    main()
