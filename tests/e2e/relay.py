"""A TCP relay on loopback between diskdump and a real sshd, whose connections can be cut, made to
stand still, and delayed."""

import collections
import select
import socket
import threading
import time


class Relay:
    """Forwards connections to `port` until it is stopped. Counts what it carried to the client."""

    def __init__(self, case, port):
        self.target = port
        self.lock = threading.Lock()
        self.pairs = []
        self.bytes_to_client = 0
        self.connections = 0
        self.held = threading.Event()
        self.held.set()  # cleared: nothing is forwarded
        self.cut_at = None
        self.delay_s = 0  # of whatever is read from now on, either way
        self.stopped = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        case.addCleanup(self.stop)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                if self.stopped:
                    return
                continue
            with self.lock:
                self.connections += 1
                self.pairs.append((client, server))
            threading.Thread(target=self.forward, args=(client, server), daemon=True).start()

    def forward(self, client, server):
        under_way = collections.deque()  # (when it arrives, from where, bytes); none: the end
        speaking = [client, server]
        try:
            while True:
                left = under_way[0][0] - time.monotonic() if under_way else 0.5
                ready, _, _ = select.select(speaking, [], [], max(0, left))
                self.held.wait()
                for one in ready:
                    data = one.recv(1 << 16)
                    if not data:
                        speaking.remove(one)
                    under_way.append((time.monotonic() + self.delay_s, one, data))
                while under_way and under_way[0][0] <= time.monotonic():
                    _, one, data = under_way.popleft()
                    if not data:
                        return
                    (server if one is client else client).sendall(data)
                    if one is server:
                        self.count(len(data))
        except (OSError, ValueError):
            pass
        finally:
            for one in (client, server):
                one.close()

    def count(self, carried):
        with self.lock:
            self.bytes_to_client += carried
            due = self.cut_at is not None and self.bytes_to_client >= self.cut_at
            if due:
                self.cut_at = None
        if due:
            self.cut()

    def cut_after(self, more_bytes):
        """All connections break once so much more has come from the target."""
        with self.lock:
            self.cut_at = self.bytes_to_client + more_bytes

    def cut(self):
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for one in pair:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def stall(self, seconds):
        self.held.clear()
        time.sleep(seconds)
        self.held.set()

    def stop(self):
        self.stopped = True
        self.held.set()
        self.listener.close()
        self.cut()
