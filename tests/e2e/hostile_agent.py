#!/usr/bin/env python3
"""An agent that misbehaves: hostile_agent.py MODE NONCE DIGEST

Speaks the protocol (src/wire/PROTOCOL.md) as a taken-over target would: properly up to the point
that MODE names, then not. MODES says what each does; hostile_test.py says what the server must make
of it. Run in the place of the agent by sshd.hostile_wrapper().
"""

import hashlib
import os
import struct
import sys
import time
import zlib

HELLO, SOURCE, DIGESTS, BLOCK, NOTE, END, ABORT, BAD_RANGE = range(1, 9)
START, ANSWER, SETTLE, CODEC, DONE, LIMIT, EXPECT = range(64, 71)
HAVE, NEED, WAIT = range(3)
RAW, LZ4, ZLIB = range(3)
DATA, ZEROS, HOLE, EXPECTED = range(4)
BLOCKS = 16


class Server:
    """The other end, on stdin and stdout."""

    def send_bytes(self, content):
        try:
            os.write(1, content) if len(content) < 4096 else sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        except OSError:
            sys.exit(0)  # it has hung up on us

    def send(self, kind, payload):
        self.send_bytes(struct.pack("<IB", len(payload), kind) + payload)

    def receive(self):
        head = sys.stdin.buffer.read(5)
        if len(head) < 5:
            sys.exit(0)
        length, kind = struct.unpack("<IB", head)
        payload = sys.stdin.buffer.read(length)
        if kind == ABORT:
            sys.exit(0)
        return kind, payload

    def hang(self):
        """Waits until the server ends it."""
        while True:
            self.receive()


def text(value):
    return struct.pack("<H", len(value)) + value


class Agent:
    def __init__(self, nonce, digest):
        self.server = Server()
        self.nonce = nonce
        self.digest = digest  # of the agent that it passes itself off as
        self.needed = []

    # ---- The honest parts -------------------------------------------------------------------------

    def hello(self, version=1):
        self.server.send(HELLO, self.nonce + struct.pack("<HHB", version, 1, 1) + self.digest +
                         text(b"hostile"))

    def start(self):
        kind, payload = self.server.receive()
        assert kind == START
        self.block_bytes, self.batch_blocks = struct.unpack_from("<II", payload)
        self.blocks = [hashlib.sha256(b"%d" % i).digest() * (self.block_bytes // 32)
                       for i in range(BLOCKS)]
        self.ids = [hashlib.sha256(block).digest() for block in self.blocks]

    def source(self, image_bytes=None):
        size = BLOCKS * self.block_bytes if image_bytes is None else image_bytes
        self.server.send(SOURCE, struct.pack("<QBBI", size, 1, 0, 1) + text(b""))

    def digests(self, first=0, ids=None):
        ids = self.ids if ids is None else ids
        self.server.send(DIGESTS, struct.pack("<QH", first, len(ids)) +
                         b"".join(struct.pack("<B", DATA) + i for i in ids))

    def expected(self, first=0, count=BLOCKS):
        """Announces blocks as what the server expects."""
        self.server.send(DIGESTS, struct.pack("<QHBI", first, 1, EXPECTED, count))

    def await_expectations(self):
        """The server tells what it expects of all blocks; it has them of an honest dump."""
        self.begin()
        told = 0
        while told < BLOCKS:
            kind, payload = self.server.receive()
            if kind == EXPECT:
                first, count = struct.unpack_from("<QH", payload)
                assert payload[10:] == b"".join(self.ids[first:first + count])
                told = first + count

    def begin(self):
        self.hello()
        self.start()
        self.source()

    def announce(self):
        """All blocks announced and answered."""
        self.begin()
        self.digests()
        verdicts = []
        while len(verdicts) < BLOCKS:
            kind, payload = self.server.receive()
            if kind == ANSWER:
                verdicts += payload[10:]
        self.needed = [i for i, verdict in enumerate(verdicts) if verdict == NEED]

    def block(self, index, payload=None, codec=RAW, raw_bytes=None):
        payload = self.blocks[index % BLOCKS] if payload is None else payload
        raw = self.block_bytes if raw_bytes is None else raw_bytes
        self.server.send(BLOCK, struct.pack("<QBI", index, codec, raw) + payload)

    def send_needed(self):
        for index in self.needed:
            self.block(index)

    def end(self, blocks=BLOCKS, sent=None, digest=None):
        sent = len(self.needed) if sent is None else sent
        digest = digest or hashlib.sha256(b"".join(self.ids)).digest()
        self.server.send(END, struct.pack("<QQQQQ", blocks, blocks, 0, sent,
                                          blocks * self.block_bytes) + digest)

    # ---- The modes ----------------------------------------------------------------------------------

    def mode_honest(self):
        """Does all of it properly; shows that the others fail for their own reason."""
        self.announce()
        self.send_needed()
        self.end()
        self.server.hang()

    def mode_wrong_digest(self):
        """A block whose content is not what was announced."""
        self.announce()
        for index in self.needed:
            self.block(index, bytes(self.block_bytes))
        self.end()
        self.server.hang()

    def mode_wrong_digest_zlib(self):
        """The same, compressed."""
        self.announce()
        for index in self.needed:
            self.block(index, zlib.compress(b"\1" * self.block_bytes, 1), ZLIB)
        self.end()
        self.server.hang()

    def mode_index_out_of_range(self):
        """A block far outside the image."""
        self.announce()
        self.block(1 << 60)
        self.server.hang()

    def mode_digests_out_of_range(self):
        """More blocks announced than the image has."""
        self.begin()
        self.digests(0, self.ids + self.ids)
        self.server.hang()

    def mode_digests_not_next(self):
        """Announcements that leave out blocks."""
        self.begin()
        self.digests(4, self.ids[:4])
        self.server.hang()

    def mode_expected_nothing(self):
        """Blocks that are as expected where nothing was."""
        self.begin()
        self.expected(0, 4)
        self.server.hang()

    def mode_expected_beyond(self):
        """More of them than the image has."""
        self.begin()
        self.expected(0, BLOCKS + 1)
        self.server.hang()

    def mode_expected_huge(self):
        """Four milliards of them."""
        self.begin()
        self.expected(0, 0xFFFFFFFF)
        self.server.hang()

    def mode_known_honest(self):
        """Where the server expects all blocks: all of it properly."""
        self.await_expectations()
        self.expected()
        self.end(sent=0)
        self.server.hang()

    def mode_known_twice(self):
        """The same blocks a second time."""
        self.await_expectations()
        self.expected(0, 8)
        self.expected(0, 8)
        self.server.hang()

    def mode_known_beyond(self):
        """As expected up to the end of the image, and one more."""
        self.await_expectations()
        self.expected(0, 8)
        self.expected(8, 9)
        self.server.hang()

    def mode_known_other_digest(self):
        """As expected, but END is about other blocks."""
        self.await_expectations()
        self.expected()
        self.end(sent=0, digest=hashlib.sha256(b"other").digest())
        self.server.hang()

    def mode_known_sent(self):
        """A block that is as expected is sent none the less."""
        self.await_expectations()
        self.expected()
        self.block(3)
        self.server.hang()

    def mode_not_asked(self):
        """Blocks before anyone asked for them."""
        self.begin()
        for index in range(BLOCKS):
            self.block(index)
        self.server.hang()

    def mode_twice(self):
        """A needed block twice."""
        self.announce()
        self.block(self.needed[0])
        self.block(self.needed[0])
        self.server.hang()

    def mode_oversized_frame(self):
        """A frame of 4 GiB."""
        self.begin()
        self.server.send_bytes(struct.pack("<IB", 0xFFFFFFFF, BLOCK) + bytes(65536))
        self.server.hang()

    def mode_oversized_note(self):
        """A log line of 100 MB."""
        self.begin()
        self.server.send_bytes(struct.pack("<IB", 100_000_000, NOTE))
        self.server.hang()

    def mode_zlib_bomb(self):
        """A block that decompresses to 100 MiB."""
        self.announce()
        packer = zlib.compressobj(9)
        bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
        for index in self.needed:
            self.block(index, bomb[:self.block_bytes], ZLIB)
        self.server.hang()

    def mode_lz4_bomb(self):
        """An LZ4 frame whose blocks go on and on."""
        self.announce()
        match = b"\x1fA\x01\x00" + b"\xff" * 16000 + b"\x00" + b"\x50AAAAA"
        frame = bytes.fromhex("04224d18607073") + \
            (struct.pack("<I", len(match)) + match) * 8 + bytes(4)
        for index in self.needed:
            self.block(index, frame[:self.block_bytes], LZ4)
        self.server.hang()

    def mode_raw_length(self):
        """A block that says it is longer than the image's blocks."""
        self.announce()
        self.block(self.needed[0], raw_bytes=self.block_bytes * 2)
        self.server.hang()

    def mode_early_end(self):
        """END before the blocks that were asked for."""
        self.announce()
        self.end(sent=0)
        self.server.hang()

    def mode_end_at_once(self):
        """END right after SOURCE."""
        self.begin()
        self.end(blocks=0, sent=0)
        self.server.hang()

    def mode_early_exit(self):
        """Goes away with status 0 and without END."""
        self.announce()
        self.block(self.needed[0])

    def mode_exit_in_frame(self):
        """Goes away in the middle of a block."""
        self.announce()
        self.server.send_bytes(struct.pack("<IBQBI", self.block_bytes + 13, BLOCK, self.needed[0], RAW,
                                           self.block_bytes) + bytes(1000))

    def mode_wrong_totals(self):
        """END with another digest over all ids."""
        self.announce()
        self.send_needed()
        self.end(digest=bytes(32))
        self.server.hang()

    def mode_endless_notes(self):
        """Log lines without end."""
        self.begin()
        for number in range(10_000_000):
            self.server.send(NOTE, b"\1" + text(b"line %d" % number))

    def mode_endless_bad_ranges(self):
        """Bad sectors without end."""
        self.begin()
        for number in range(10_000_000):
            self.server.send(BAD_RANGE, struct.pack("<QQ", number * 512, 512))

    def mode_window(self):
        """Far more blocks announced than the batch has slots, without waiting for an answer."""
        self.hello()
        self.start()
        self.source(1 << 40)
        for number in range(100_000):
            ids = [hashlib.sha256(b"%d" % (number * 256 + i)).digest() for i in range(256)]
            self.digests(number * 256, ids)

    def mode_escapes(self):
        """Control sequences for the operator's terminal in a log line and in the final error."""
        self.begin()
        self.server.send(NOTE, b"\2" + text(b"\x1b]0;owned\x07\x1b[2J note\r\nfake: all well"))
        self.server.send(ABORT, struct.pack("<HIQ", 1, 0, 2**64 - 1) +
                         text(b"\x1b[31mabort\x1b[0m\nfake: second line"))
        self.server.hang()

    def mode_unknown_kind(self):
        """A message that no one defined."""
        self.begin()
        self.server.send(42, b"hello")
        self.server.hang()

    def mode_server_kind(self):
        """A message that only the server may send."""
        self.begin()
        self.server.send(DONE, b"")
        self.server.hang()

    def mode_malformed(self):
        """A DIGESTS frame that ends in the middle of an id."""
        self.begin()
        self.server.send(DIGESTS, struct.pack("<QH", 0, 4) + bytes(50))
        self.server.hang()

    def mode_other_version(self):
        """A protocol of the future."""
        self.hello(version=77)
        self.server.hang()

    def mode_other_agent(self):
        """Another program than the one that was sent."""
        self.digest = bytes(32)
        self.begin()
        self.server.hang()

    def mode_no_hello(self):
        """Noise in the place of HELLO, more than a login script may print."""
        while True:
            self.server.send_bytes(b"noise noise noise\n" * 1000)

    def mode_garbage(self):
        """HELLO, then bytes without any order."""
        self.begin()
        value = b"seed"
        while True:
            value = hashlib.sha512(value).digest()
            self.server.send_bytes(value)

    def mode_huge_image(self):
        """A source of more bytes than any disk has."""
        self.hello()
        self.start()
        self.source(2**64 - 1)
        self.server.hang()

    def mode_holes(self):
        """A disk of 64 GB that has nothing in it, whose manifest would be 32 MB; then silence."""
        self.hello()
        self.start()
        blocks = 500_000
        self.source(blocks * self.block_bytes)
        for first in range(0, blocks, 50_000):
            self.server.send(DIGESTS, struct.pack("<QHBI", first, 1, HOLE, 50_000))
        time.sleep(10_000)

    def mode_other_things(self):
        """Sends zeros as fast as they are taken, for 45 s, and nothing of what it owes."""
        self.hello()
        self.start()
        self.source(1 << 40)
        self.digests()
        kind, payload = self.server.receive()
        assert kind == ANSWER and NEED in payload[10:]
        zeros = struct.pack("<BI", ZEROS, 1) * 256  # each by itself, which costs the server most
        first, until = BLOCKS, time.monotonic() + 45
        while time.monotonic() < until:
            self.server.send(DIGESTS, struct.pack("<QH", first, 256) + zeros)
            first += 256

    def mode_silence(self):
        """Says HELLO and nothing any more."""
        self.begin()
        time.sleep(10_000)


MODES = {name[len("mode_"):]: (getattr(Agent, name).__doc__ or "") for name in dir(Agent)
         if name.startswith("mode_")}


def main():
    agent = Agent(bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3]))
    getattr(agent, "mode_" + sys.argv[1])()


if __name__ == "__main__":
    main()
