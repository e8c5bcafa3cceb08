"""diskdump with a controlling terminal, on which somebody answers."""

import fcntl
import os
import subprocess
import termios
import threading

from cli import TIMEOUT_S


def start(diskdump, slave, *arguments):
    """Starts a dump with this as its controlling terminal."""
    def own_terminal():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    return subprocess.Popen(diskdump.command("dump", "-v", *arguments), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=diskdump.env,
                            cwd=diskdump.case.folder, preexec_fn=own_terminal)


def run(diskdump, *arguments, question, answers, expect, timeout=TIMEOUT_S):
    """Runs a dump on a terminal. The n-th time that `question` is asked the n-th answer is typed, then
    the last one again; called before it is, where it is callable. The outcome, and all that stood on
    the terminal."""
    master, slave = os.openpty()
    process = start(diskdump, slave, *arguments)
    shown = bytearray()

    def type_answers():
        answered = 0
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:
                return
            if not part:
                return
            shown.extend(part)
            while shown.count(question) > answered:
                answer = answers[min(answered, len(answers) - 1)]
                answered += 1
                os.write(master, (answer() if callable(answer) else answer).encode() + b"\n")

    typist = threading.Thread(target=type_answers, daemon=True)
    typist.start()
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    os.close(slave)  # not before: without one, reading the master fails
    typist.join(10)
    os.close(master)
    done = diskdump.outcome(arguments, process.returncode, stdout, stderr, expect)
    return done, bytes(shown)
