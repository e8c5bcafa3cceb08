#!/usr/bin/env python3
"""A long way to an sshd on this machine, by the program delay_proxy. Run by itself it measures that program:
bench/delay_proxy.py [--mib N] [DELAY_MS …]

`ninja -C build bench/delay_proxy` builds it.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/e2e"))

from fixture import BUILD  # noqa: E402
from sshd import end_with_parent  # noqa: E402

PROGRAM = os.path.join(BUILD, "bench/delay_proxy")
CHUNK = 1 << 20
PINGS = 20


class DelayProxy:
    """The program between `port` and whoever connects to self.port; stop() ends it."""

    def __init__(self, port, round_trip_ms):
        self.process = subprocess.Popen([PROGRAM, "0", str(port), str(round_trip_ms / 2)],
                                        stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent)
        line = self.process.stdout.readline().split()
        if line[:1] != ["port"]:
            raise RuntimeError(f"{PROGRAM} does not start")
        self.port = int(line[1])

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def client_config(self, sshd):
        """An ssh_config that leads to `sshd` on this way."""
        known, config = sshd.path(f"known_hosts-{self.port}"), sshd.path(f"ssh_config-{self.port}")
        for name, goal in (("known_hosts", known), ("ssh_config", config)):
            with open(sshd.path(name), encoding="utf-8") as text:
                changed = text.read().replace(f":{sshd.port} ", f":{self.port} ")
            changed = changed.replace(f"Port {sshd.port}\n", f"Port {self.port}\n")
            changed = changed.replace(sshd.path("known_hosts") + "\n", known + "\n")
            with open(goal, "w", encoding="utf-8") as out:
                out.write(changed)
        return config


def receive(connection):
    got, buffer = 0, bytearray(CHUNK)
    while n := connection.recv_into(buffer):
        got += n
    return got


def answer(listener):
    """Says each single byte back; of a connection that begins with a longer piece, how much came. The
    answer comes after the end of the stream, over the other half of the connection."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first = connection.recv(CHUNK)
            while len(first) == 1:
                connection.sendall(first)
                first = connection.recv(CHUNK)
            connection.sendall(str(len(first) + receive(connection)).encode())


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def round_trip_ms(port):
    times = []
    with connect(port) as connection:
        for _ in range(PINGS + 1):  # the first one opens the connection
            begin = time.monotonic()
            connection.sendall(b"x")
            connection.recv(1)
            times.append(time.monotonic() - begin)
    return statistics.median(times[1:]) * 1e3


def megabytes_per_s(port, mib):
    """From the first byte sent until the answer that tells how many came."""
    chunk = bytes(CHUNK)
    with connect(port) as connection:
        begin = time.monotonic()
        for _ in range(mib):
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)
        got = int(connection.makefile("rb").read())
        seconds = time.monotonic() - begin
    if got != mib * CHUNK:
        sys.exit(f"{got} of {mib * CHUNK} bytes arrived")
    return got / seconds / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=4096)
    parser.add_argument("delays", type=float, nargs="*", default=[0, 10, 50, 100],
                        help="round trips in ms")
    given = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        print(f"load {os.getloadavg()[0]:.1f}\n| way | round trip, ms | MB/s |\n|---|---|---|")
        print(f"| direct | {round_trip_ms(port):.2f} | {megabytes_per_s(port, given.mib):.0f} |", flush=True)
        for delay in given.delays:
            proxy = DelayProxy(port, delay)
            print(f"| {delay:g} ms | {round_trip_ms(proxy.port):.2f} | "
                  f"{megabytes_per_s(proxy.port, given.mib):.0f} |", flush=True)
            proxy.stop()


if __name__ == "__main__":
    main()
