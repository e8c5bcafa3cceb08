"""diskdump with a controlling terminal, on which somebody answers, and what a terminal shows of what
is written to it."""

import fcntl
import os
import re
import subprocess
import termios
import threading
import time

from cli import TIMEOUT_S


# An answer: Ctrl-C when others have come to their questions, and an empty line when it was heeded.
CTRL_C = object()
PAUSE_S = 3


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
                if answer is CTRL_C:
                    time.sleep(PAUSE_S)
                    os.write(master, b"\x03")
                    time.sleep(PAUSE_S)
                    answer = ""
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


# Of what a terminal understands, what diskdump writes.
PIECES = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Shown:
    """The screen of a terminal of this size, and what left it at its top. Where a line is longer than
    the screen is wide, or the cursor is sent out of the screen, an AssertionError."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.gone = []
        self.lines = [""] * rows
        self.row = self.column = 0

    def take(self, text):
        """Yields at the end of each frame, when the screen is whole."""
        at = 0
        for piece in PIECES.finditer(text):
            assert piece.start() == at, f"not understood: {text[at:at + 40]!r}"
            at = piece.end()
            private, number, command, control, plain = piece.groups()
            if plain is not None:
                self.put(plain)
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self.next_line()
            elif (private, number, command) == ("?", "2026", "l"):
                yield self
            else:
                self.obey(private + number, command)
        assert at == len(text), f"not understood: {text[at:at + 40]!r}"

    def put(self, plain):
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[:self.column] + plain + line[self.column + len(plain):]
        self.column += len(plain)
        assert self.column <= self.columns, f"{self.column} columns: {self.lines[self.row]!r}"

    def next_line(self):
        if self.row + 1 < self.rows:
            self.row += 1
            return
        self.gone.append(self.lines.pop(0))
        self.lines.append("")

    def obey(self, number, command):
        if command == "A":
            self.row -= int(number or 1)
            assert self.row >= 0, "the cursor was sent above the screen"
        elif command == "K":
            self.lines[self.row] = self.lines[self.row][:self.column]
        elif command == "J":
            self.lines[self.row] = self.lines[self.row][:self.column]
            self.lines[self.row + 1:] = [""] * (self.rows - self.row - 1)
        else:
            assert command == "m" or (number, command) == ("?2026", "h"), f"CSI {number}{command}"

    def all_lines(self):
        return [line.rstrip() for line in self.gone + self.lines]
