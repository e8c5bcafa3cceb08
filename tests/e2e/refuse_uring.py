#!/usr/bin/env python3
"""Runs a command in which io_uring does not work: refuse_uring.py EPERM|ENOSYS COMMAND…
Or works for the smallest rings only, as a probe makes them: refuse_uring.py small COMMAND…

By a seccomp filter, as containers have it; no right is needed, and nothing else on the machine
notices.
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000
# The same three numbers on x86-64 and aarch64.
SETUP, ENTER, REGISTER = 425, 426, 427
LD_ABS, JEQ, JGT, RET = 0x20, 0x15, 0x25, 0x06
# Where a filter finds the call's number, and the lower half of its first argument.
CALL_NUMBER, FIRST_ARGUMENT = 0, 16
SMALL_ENTRIES = 2


def instruction(code, jump_true, jump_false, value):
    return struct.pack("<HBBI", code, jump_true, jump_false, value)


def run_filtered(program, command):
    """Becomes `command`, whose system calls pass the filter of these instructions."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program)
    filter_ = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or \
            libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(filter_), 0,
                       0) != 0:
        sys.exit(f"{sys.argv[0]}: {os.strerror(ctypes.get_errno())}")
    os.execvp(command[0], command)


def refuse_large_rings():
    run_filtered(instruction(LD_ABS, 0, 0, CALL_NUMBER) +
                 instruction(JEQ, 0, 2, SETUP) +
                 instruction(LD_ABS, 0, 0, FIRST_ARGUMENT) +
                 instruction(JGT, 1, 0, SMALL_ENTRIES) +
                 instruction(RET, 0, 0, RET_ALLOW) +
                 instruction(RET, 0, 0, RET_ERRNO | errno.ENOMEM), sys.argv[2:])


def main():
    if sys.argv[1] == "small":
        refuse_large_rings()
    number = getattr(errno, sys.argv[1])
    program = (instruction(LD_ABS, 0, 0, CALL_NUMBER) +
               instruction(JEQ, 3, 0, SETUP) +
               instruction(JEQ, 2, 0, ENTER) +
               instruction(JEQ, 1, 0, REGISTER) +
               instruction(RET, 0, 0, RET_ALLOW) +
               instruction(RET, 0, 0, RET_ERRNO | number))
    run_filtered(program, sys.argv[2:])


if __name__ == "__main__":
    main()
