"""diskdump's agent in Python, for targets where the native one cannot run: no build for the
machine, or no directory that may execute. Python 3.6 or later, standard library only (no module
outside Debian's python3-minimal is needed), the same protocol as the native agent: src/wire/PROTOCOL.md.

Started as `python3 -c LAUNCHER NONCEHEX`; the launcher runs this text, which came over stdin, and
the frames of the server follow it there. Stages, as in the native agent, one or more threads each:

    read -> digest (all cores) -> announce -> hold -> send (compress) -> write

long because: it reaches the target as one text on stdin and can import nothing of ours.

At most one batch of blocks is in memory. The main thread reads what the server says, at all times.
lz4 is not in the standard library: the policy lz4 sends zlib level 1, or raw what does not shrink.
"""
import collections
import errno
import fcntl
import hashlib
import os
import platform
import signal
import stat
import struct
import sys
import threading
import time
import zlib

VERSION = 1
HELLO, SOURCE, DIGESTS, BLOCK, NOTE, END, ABORT, BAD_RANGE = range(1, 9)
START, ANSWER, SETTLE, CODEC, DONE, LIMIT, EXPECT = range(64, 71)
HAVE, NEED, WAIT = range(3)
DATA, ZEROS, HOLE, EXPECTED = range(4)
RAW, LZ4, ZLIB = range(3)
POLICY_NONE, POLICY_LZ4, POLICY_ZLIB = range(3)
INTERNAL, CANNOT_OPEN, READ_FAILED, SOURCE_SHRANK, PROTOCOL, CANCELLED = range(1, 7)
ENGINE_PYTHON = 2
NO_OFFSET = 2**64 - 1

# The bounds of src/base/limits.hpp.
BLOCK_BYTES_MIN, BLOCK_BYTES_MAX, BLOCK_BYTES_MULTIPLE = 4096, 16 << 20, 4096
BATCH_BLOCKS_MAX, BATCH_BYTES_MAX = 65536, 1 << 30
CONTROL_PAYLOAD_BYTES_MAX = 64 << 10
DIGEST_RUNS_MAX, DIGESTS_BLOCKS_MAX = 256, 65536
EXPECTED_IDS_MAX, EXPECTED_AHEAD_BLOCKS, EXPECTED_REPORT_BLOCKS = 256, 4096, 64
READ_BYTES_MAX, GROUPS_IN_FLIGHT_MAX = 1 << 20, 8
BAD_RANGES_MAX, NOTE_BYTES_MAX, PATH_BYTES_MAX = 4096, 1024, 4096
IDENTITY_BYTES_MAX, IDENTITY_FIELD_BYTES_MAX = 1024, 128
# What block devices say of a bad sector, of a target's error and of a protection checksum.
MEDIUM_ERRORS = (errno.EIO, errno.ENODATA, errno.EREMOTEIO, errno.EILSEQ, errno.EBADMSG, errno.EUCLEAN)
SECTOR_BYTES = 512
CACHE_PIECE_BYTES_MAX = 4 << 20  # what the page cache of Linux holds as one: a huge page of 2 MiB
WORKER_THREADS_MAX = 64
OUTPUT_BYTES_MAX = 64 << 10  # of announcements that the server has not taken yet
ANNOUNCE_INTERVAL_S = 0.2
RATE_ALLOWANCE_MAX_S, RATE_LOOK_INTERVAL_S = 0.1, 0.5


class Failure(Exception):
    """What ends the dump; becomes ABORT."""

    def __init__(self, code, text, errno_value=0, offset=NO_OFFSET):
        Exception.__init__(self, text)
        self.code, self.text, self.errno_value, self.offset = code, text, errno_value, offset


def frame(kind, payload=b""):
    return struct.pack("<IB", len(payload), kind) + payload


def text_field(text, bytes_max):
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return struct.pack("<H", len(raw[:bytes_max])) + raw[:bytes_max]


class Output:
    """The one writer of stdout. Frames leave in the order of put(); a block's slot is given back
    once its bytes are written."""

    def __init__(self, fd):
        self.fd = fd
        self.changed = threading.Condition()
        self.frames = collections.deque()  # (buffers, after or None)
        self.control_bytes = 0

    def put(self, *buffers, **options):
        after = options.get("after")
        with self.changed:
            self.frames.append((buffers, after))
            if after is None:
                self.control_bytes += sum(map(len, buffers))
            self.changed.notify_all()

    def wait_for_room(self):
        with self.changed:
            while self.control_bytes > OUTPUT_BYTES_MAX:
                self.changed.wait()

    def write_all(self, buffers):
        views = collections.deque(memoryview(b) for b in buffers if len(b))
        while views:
            written = os.writev(self.fd, [views[i] for i in range(min(len(views), 64))])
            while written:
                if written >= len(views[0]):
                    written -= len(views.popleft())
                else:
                    views[0] = views[0][written:]
                    written = 0

    def run(self):
        while True:
            with self.changed:
                while not self.frames:
                    self.changed.wait()
                taken = [self.frames.popleft() for _ in range(min(len(self.frames), 16))]
            try:
                self.write_all([b for buffers, _ in taken for b in buffers])
            except OSError:
                os._exit(1)  # the server is gone
            with self.changed:
                self.control_bytes -= sum(
                    sum(map(len, buffers)) for buffers, after in taken if after is None
                )
                self.changed.notify_all()
            for _, after in taken:
                if after is not None:
                    after()


class Group:
    """Blocks that follow each other in the image: read (`blocks`), or a hole (`hole_blocks`)."""

    def __init__(self, first, blocks=(), hole_blocks=0, bad=()):
        self.first, self.blocks, self.hole_blocks, self.bad = first, blocks, hole_blocks, bad
        self.ids = None  # per block: its id, or None for zeros; set by a digest thread


class RateLimiter:
    """src/async/rate_limiter.hpp for threads: one takes, another one may set the rate."""

    def __init__(self, bytes_per_s):
        self.changed = threading.Lock()  # guards all below
        self.rate = bytes_per_s
        self.charged = self.earned = 0.0
        self.earned_until = time.monotonic()

    def earn(self):
        now = time.monotonic()
        self.earned += self.rate * (now - self.earned_until)
        self.earned = min(self.earned, self.charged + self.rate * RATE_ALLOWANCE_MAX_S)
        self.earned_until = now

    def set_rate(self, bytes_per_s):
        with self.changed:
            self.earn()
            if not bytes_per_s:
                self.earned = self.charged
            self.rate = bytes_per_s

    def take(self, count):
        with self.changed:
            if not self.rate:
                return
            turn = self.charged
            self.charged += count
        while True:
            with self.changed:
                if not self.rate:
                    return
                self.earn()
                pause = (turn - self.earned) / self.rate
            if pause <= 0:
                return
            time.sleep(min(pause, RATE_LOOK_INTERVAL_S))

    def piece_bytes_max(self):
        return self.rate // 4 or 2**64


class Agent:
    def __init__(self, nonce, output):
        self.nonce, self.output = nonce, output
        self.changed = threading.Condition()  # guards all below
        self.free_slots = 0
        self.to_digest = collections.deque()
        self.to_announce = collections.deque()
        self.unanswered = collections.deque()
        self.held = {}  # index -> block, from its announcement until its fate is known
        self.waiting = set()
        self.needed = collections.deque()
        self.expected = {}  # index -> the id that the server expects, until the block is announced
        self.expected_until = 0  # what lies before was told, or left out
        self.announced = 0  # the first block that is not
        self.unsettled = 0
        self.sent = 0
        self.read_bytes = 0
        self.policy = POLICY_LZ4
        self.ended = False

    # ---- control: what the server says ------------------------------------------------------------

    def read_frame(self):
        head = sys.stdin.buffer.read(5)
        if len(head) < 5:
            return None, b""
        length, kind = struct.unpack("<IB", head)
        if not (START <= kind <= EXPECT or kind == ABORT):
            raise Failure(PROTOCOL, "unknown message kind %d" % kind)
        if length > CONTROL_PAYLOAD_BYTES_MAX:
            raise Failure(PROTOCOL, "a frame of %d bytes" % length)
        payload = sys.stdin.buffer.read(length)
        if len(payload) < length:
            return None, b""
        return kind, payload

    def control(self):
        """Runs in the main thread until the end of the process."""
        while True:
            kind, payload = self.read_frame()
            if kind is None or kind == ABORT:
                os._exit(0 if self.ended and kind is None else 1)
            try:
                if kind == ANSWER:
                    self.on_answer(payload)
                elif kind == SETTLE:
                    self.on_settle(*struct.unpack("<QB", payload))
                elif kind == CODEC:
                    (policy,) = struct.unpack("<B", payload)
                    if policy > POLICY_ZLIB:
                        raise Failure(PROTOCOL, "unknown codec policy %d" % policy)
                    self.policy = policy
                elif kind == LIMIT:
                    self.reading.set_rate(*struct.unpack("<Q", payload))
                elif kind == EXPECT:
                    self.on_expect(payload)
                elif kind == DONE and not payload and self.ended:
                    os._exit(0)
                else:
                    raise Failure(PROTOCOL, "message kind %d out of order" % kind)
            except struct.error:
                raise Failure(PROTOCOL, "message kind %d does not parse" % kind)

    def on_answer(self, payload):
        first, count = struct.unpack_from("<QH", payload)
        verdicts = payload[10:]
        with self.changed:
            if len(verdicts) != count or not 0 < count <= len(self.unanswered):
                raise Failure(PROTOCOL, "%d answers to %d blocks" % (count, len(self.unanswered)))
            if first != self.unanswered[0]:
                raise Failure(PROTOCOL, "answer to block %d, not yet its turn" % first)
            for value in verdicts:
                self.settle(self.unanswered.popleft(), value)
            self.changed.notify_all()

    def on_settle(self, index, value):
        with self.changed:
            if index not in self.waiting or value == WAIT:
                raise Failure(PROTOCOL, "block %d was not told to wait" % index)
            self.waiting.remove(index)
            self.settle(index, value)
            self.changed.notify_all()

    def on_expect(self, payload):
        first, count = struct.unpack_from("<QH", payload)
        if not 0 < count <= EXPECTED_IDS_MAX or len(payload) != 10 + 32 * count:
            raise Failure(PROTOCOL, "%d expected blocks in %d bytes" % (count, len(payload)))
        with self.changed:
            if first < self.expected_until or first + count >= 2**64:
                raise Failure(
                    PROTOCOL, "%d expected blocks from %d, not their turn" % (count, first)
                )
            self.expected_until = first + count
            for i in range(max(first, self.announced), first + count):
                digest = payload[10 + 32 * (i - first) :][:32]
                if any(digest):
                    self.expected[i] = digest
            if len(self.expected) > EXPECTED_AHEAD_BLOCKS:
                raise Failure(PROTOCOL, "%d blocks are expected" % len(self.expected))

    def settle(self, index, value):
        if value == HAVE:
            del self.held[index]
            self.free_slots += 1
            self.unsettled -= 1
        elif value == NEED:
            self.needed.append(index)
        elif value == WAIT:
            self.waiting.add(index)
        else:
            raise Failure(PROTOCOL, "unknown verdict %d" % value)

    # ---- start --------------------------------------------------------------------------------------

    def hello(self):
        machine = {"x86_64": 1, "aarch64": 2}.get(platform.machine(), 0)
        build = "python %d.%d.%d" % sys.version_info[:3]
        head = struct.pack("<HHB", VERSION, machine, ENGINE_PYTHON)
        # The script has no file of its own whose digest could be told.
        self.output.put(frame(HELLO, self.nonce + head + bytes(32) + text_field(build, 255)))

    def start(self):
        kind, payload = self.read_frame()
        if kind is None or kind == ABORT:
            os._exit(1)
        if kind != START:
            raise Failure(PROTOCOL, "message kind %d before START" % kind)
        layout = "<IIBQQHBH"
        try:
            (
                self.block_bytes,
                self.batch_blocks,
                self.policy,
                self.first_block,
                read_limit,
                threads_max,
                flags,
                path_bytes,
            ) = struct.unpack_from(layout, payload)
        except struct.error:
            raise Failure(PROTOCOL, "START does not parse")
        self.path = payload[struct.calcsize(layout) :]
        if (
            len(self.path) != path_bytes
            or not 0 < path_bytes <= PATH_BYTES_MAX
            or b"\0" in self.path
            or self.policy > POLICY_ZLIB
            or flags > 3
        ):
            raise Failure(PROTOCOL, "START does not parse")
        if (
            not BLOCK_BYTES_MIN <= self.block_bytes <= BLOCK_BYTES_MAX
            or self.block_bytes % BLOCK_BYTES_MULTIPLE
            or not 0 < self.batch_blocks <= BATCH_BLOCKS_MAX
            or self.block_bytes * self.batch_blocks > BATCH_BYTES_MAX
        ):
            raise Failure(
                PROTOCOL, "%d blocks of %d bytes" % (self.batch_blocks, self.block_bytes)
            )
        self.skip_bad_sectors = bool(flags & 1)
        if flags & 2:
            lower_priority()
        self.reading = RateLimiter(read_limit)
        cores = len(os.sched_getaffinity(0))
        self.threads = max(1, min(cores, threads_max or cores, WORKER_THREADS_MAX))
        self.free_slots = self.batch_blocks
        self.announced = self.expected_until = self.first_block
        # Several requests share a small batch, so that reading and hashing overlap.
        self.group_blocks = max(
            1, min(READ_BYTES_MAX // self.block_bytes, 64, self.batch_blocks // 4)
        )

    def open_source(self):
        try:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self.fd)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self.is_device = stat.S_ISBLK(status.st_mode)
            if not self.is_device and not stat.S_ISREG(status.st_mode):
                raise Failure(CANNOT_OPEN, "is neither a file nor a block device")
            self.image_bytes = os.lseek(self.fd, 0, os.SEEK_END)
        except OSError as e:
            raise Failure(CANNOT_OPEN, e.strerror, e.errno)
        self.blocks = -(-self.image_bytes // self.block_bytes)
        if self.first_block > self.blocks:
            raise Failure(PROTOCOL, "first block %d of %d" % (self.first_block, self.blocks))
        head = struct.pack("<QBBI", self.image_bytes, 2 if self.is_device else 1, 0, 1)
        self.output.put(frame(SOURCE, head + text_field(identity(status), IDENTITY_BYTES_MAX)))

    # ---- read: the image, in order, into free slots; gives groups of blocks ---------------------------

    def read(self):
        index, data_end = self.first_block, 0
        while index < self.blocks:
            if index * self.block_bytes >= data_end:
                hole_end, data_end = self.next_data(index)
                if hole_end > index:
                    self.pass_on(Group(index, hole_blocks=hole_end - index))
                    index = hole_end
                    continue
            end = min(-(-data_end // self.block_bytes), index + self.group_blocks)
            piece = self.reading.piece_bytes_max() // self.block_bytes
            count = self.take_slots(min(end - index, max(1, piece)))
            group_end = min((index + count) * self.block_bytes, self.image_bytes)
            self.reading.take(group_end - index * self.block_bytes)
            blocks, bad = [], []
            for i in range(index, index + count):
                offset = i * self.block_bytes
                length = min(self.block_bytes, self.image_bytes - offset)
                blocks.append(self.read_block(offset, length, bad))
                self.read_bytes += length
            if bad and not self.skip_bad_sectors:
                offset, length = bad[0]
                raise Failure(
                    READ_FAILED,
                    "cannot read %s" % ", ".join("%d+%d" % part for part in bad[:16]),
                    errno.EIO,
                    offset,
                )
            self.pass_on(Group(index, blocks=blocks, bad=bad))
            index += count
        self.pass_on(None)

    def next_data(self, index):
        """(block at which the hole that starts here ends, byte at which the data after it ends)"""
        offset = index * self.block_bytes
        if self.is_device or not hasattr(os, "SEEK_DATA"):
            return index, self.image_bytes
        try:
            start = os.lseek(self.fd, offset, os.SEEK_DATA)
            end = os.lseek(self.fd, start, os.SEEK_HOLE)
        except OSError as e:
            if e.errno != errno.ENXIO:
                return index, self.image_bytes
            # Past the end looks the same as a hole up to the end.
            size = os.fstat(self.fd).st_size
            if size < self.image_bytes:
                raise shrank(size)
            return self.blocks, self.image_bytes
        if start >= self.image_bytes:
            return self.blocks, self.image_bytes
        return max(index, start // self.block_bytes), min(end, self.image_bytes)

    def take_slots(self, wanted):
        with self.changed:
            while self.free_slots == 0:
                self.changed.wait()
            count = min(wanted, self.free_slots)
            self.free_slots -= count
            return count

    def read_block(self, offset, length, bad):
        parts, got = [], 0
        while got < length:
            try:
                part = os.pread(self.fd, length - got, offset + got)
            except OSError as e:
                if e.errno in (errno.EINTR, errno.EAGAIN):
                    continue
                refuse_if_gone(e, offset + got)
                part = self.read_halves(offset + got, length - got, bad)
            if not part:
                raise shrank(offset + got)
            parts.append(part)
            got += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_halves(self, offset, length, bad):
        """Reads around bad sectors; what stays unreadable is zeros, and noted in `bad`."""
        self.read_ahead(False, offset, length)
        try:
            return self.read_pieces(offset, length, bad)
        finally:
            self.read_ahead(True, offset, length)

    def read_ahead(self, wanted, offset, length):
        """The kernel reads ahead in pieces of many pages, and a piece with one bad sector cannot be
        read at all, also later: what failed is forgotten, and pages are read one by one."""
        begin = offset // CACHE_PIECE_BYTES_MAX * CACHE_PIECE_BYTES_MAX
        end = offset + length + CACHE_PIECE_BYTES_MAX
        advice = os.POSIX_FADV_NORMAL if wanted else os.POSIX_FADV_RANDOM
        try:
            os.posix_fadvise(self.fd, 0, 0, advice)
            os.posix_fadvise(self.fd, begin, end - begin, os.POSIX_FADV_DONTNEED)
        except OSError:
            pass  # less is read around bad sectors

    def read_pieces(self, offset, length, bad):
        result, todo = [], [(offset, length)]
        while todo:
            offset, length = todo.pop()
            try:
                part = os.pread(self.fd, length, offset)
            except OSError as e:
                refuse_if_gone(e, offset)
                if e.errno not in MEDIUM_ERRORS:
                    raise  # memory or descriptors are short: nothing is wrong with the disk
                half = length // 2 // SECTOR_BYTES * SECTOR_BYTES
                if half:
                    todo.append((offset + half, length - half))
                    todo.append((offset, half))
                    continue
                add_bad_range(bad, offset, length)
                part = bytes(length)
            if not part:
                raise shrank(offset)
            result.append(part)
            if len(part) < length:
                todo.append((offset + len(part), length - len(part)))
        return b"".join(result)

    def pass_on(self, group):
        with self.changed:
            while len(self.to_announce) >= GROUPS_IN_FLIGHT_MAX:
                self.changed.wait()
            self.to_announce.append(group)
            if group is not None:
                if group.blocks:
                    self.to_digest.append(group)
                else:
                    group.ids = ()
            self.changed.notify_all()

    # ---- digest: groups of blocks; gives each block's id, on all cores ---------------------------------

    def digest(self):
        zeros = bytes(self.block_bytes)
        while True:
            with self.changed:
                while not self.to_digest:
                    self.changed.wait()
                group = self.to_digest.popleft()
            ids = []
            for block in group.blocks:
                full = zeros if len(block) == len(zeros) else zeros[: len(block)]
                ids.append(None if block == full else hashlib.sha256(block).digest())
            with self.changed:
                group.ids = ids
                self.changed.notify_all()

    # ---- announce: digested groups in the order of the image; gives DIGESTS, and held blocks -----------

    def announce(self):
        tail_bytes = self.image_bytes % self.block_bytes
        zero_id = hashlib.sha256(bytes(self.block_bytes)).digest()
        zero_tail_id = hashlib.sha256(bytes(tail_bytes)).digest() if tail_bytes else zero_id
        self.all_ids = hashlib.sha256()
        self.data_blocks = self.zero_blocks = 0
        self.first_of_runs, self.runs = self.first_block, []
        self.pending_bad, bad_ranges, bad_until, last_flush = [], 0, None, time.monotonic()
        while True:
            with self.changed:
                while not self.to_announce or (
                    self.to_announce[0] is not None and self.to_announce[0].ids is None
                ):
                    self.changed.wait()
                group = self.to_announce.popleft()
                self.changed.notify_all()
            if group is None:
                break
            for offset, length in group.bad:
                bad_ranges += offset != bad_until
                bad_until = offset + length
                add_bad_range(self.pending_bad, offset, length)
            if bad_ranges > BAD_RANGES_MAX:
                raise Failure(READ_FAILED, "more than %d bad ranges" % BAD_RANGES_MAX, errno.EIO)
            hole = group.hole_blocks
            last = group.first + max(hole, len(group.blocks)) == self.blocks
            if hole:
                self.add_zeros(HOLE, hole, zero_id, zero_tail_id if last else zero_id)
            self.add_blocks(group, zero_id, zero_tail_id if last else zero_id)
            data = any(kind == DATA for kind, _, _ in self.runs)
            expected = sum(count for kind, count, _ in self.runs if kind == EXPECTED)
            if (
                data
                or expected >= EXPECTED_REPORT_BLOCKS
                or time.monotonic() - last_flush > ANNOUNCE_INTERVAL_S
            ):
                self.flush_runs()
                last_flush = time.monotonic()
        self.flush_runs()
        self.finish()

    def add_zeros(self, kind, count, zero_id, last_id):
        self.zero_blocks += count
        full = count - 1
        while full:
            part = min(full, 4096)
            self.all_ids.update(zero_id * part)
            full -= part
        self.all_ids.update(last_id)
        while count:
            if self.runs and self.runs[-1][0] == kind:
                part = min(count, DIGESTS_BLOCKS_MAX - self.blocks_in_runs())
                self.runs[-1][1] += part
            else:
                part = min(count, DIGESTS_BLOCKS_MAX - self.blocks_in_runs())
                if part:
                    self.runs.append([kind, part, None])
            count -= part
            if count:
                self.flush_runs()

    def blocks_in_runs(self):
        return sum(run[1] for run in self.runs)

    def add_blocks(self, group, zero_id, last_id):
        last = group.first + len(group.blocks) - 1
        expected = set()  # what the server has for certain needs neither a slot nor an answer
        with self.changed:
            for i, (block, digest) in enumerate(zip(group.blocks, group.ids), group.first):
                if digest is not None and digest == self.expected.get(i):
                    expected.add(i)
                if digest is None or i in expected:
                    self.free_slots += 1
                else:
                    self.held[i] = block
                    self.unanswered.append(i)
                    self.unsettled += 1
            self.changed.notify_all()
        for i, digest in enumerate(group.ids, group.first):
            if digest is None:
                self.add_zeros(ZEROS, 1, zero_id, last_id if i == last else zero_id)
            else:
                if self.blocks_in_runs() >= DIGESTS_BLOCKS_MAX:
                    self.flush_runs()
                if i not in expected:
                    self.runs.append([DATA, 1, digest])
                elif self.runs and self.runs[-1][0] == EXPECTED:
                    self.runs[-1][1] += 1
                else:
                    self.runs.append([EXPECTED, 1, None])
                self.data_blocks += 1
                self.all_ids.update(digest)
            # Of an expected run each block counts.
            if sum(n if kind == EXPECTED else 1 for kind, n, _ in self.runs) >= DIGEST_RUNS_MAX:
                self.flush_runs()
        group.blocks = ()

    def flush_runs(self):
        # Before the blocks that they are in: a dump that goes on behind these does not ask again.
        for part in self.pending_bad:
            self.output.put(frame(BAD_RANGE, struct.pack("<QQ", *part)))
        self.pending_bad = []
        if not self.runs:
            return
        self.output.wait_for_room()
        payload = [struct.pack("<QH", self.first_of_runs, len(self.runs))]
        for kind, count, digest in self.runs:
            payload.append(
                struct.pack("<B", kind) + digest
                if kind == DATA
                else struct.pack("<BI", kind, count)
            )
        before = self.first_of_runs
        self.first_of_runs += self.blocks_in_runs()
        self.runs = []
        with self.changed:
            self.announced = self.first_of_runs
            if self.announced - before > len(self.expected):
                self.expected = {i: e for i, e in self.expected.items() if i >= self.announced}
            else:
                for i in range(before, self.announced):
                    self.expected.pop(i, None)
        self.output.put(frame(DIGESTS, b"".join(payload)))

    def finish(self):
        with self.changed:
            while self.unsettled:
                self.changed.wait()
            self.ended = True  # the server may say DONE as soon as END is out
        totals = (self.blocks, self.data_blocks, self.zero_blocks, self.sent, self.read_bytes)
        self.output.put(frame(END, struct.pack("<QQQQQ", *totals) + self.all_ids.digest()))

    # ---- send: needed blocks; compresses them on all cores and queues them for the writer ---------------

    def send(self):
        while True:
            with self.changed:
                while not self.needed:
                    self.changed.wait()
                index = self.needed.popleft()
                block = self.held.pop(index)
                self.sent += 1
            codec, payload = RAW, block
            if self.policy != POLICY_NONE:
                packed = zlib.compress(block, 1)
                if len(packed) < len(block):
                    codec, payload = ZLIB, packed
            raw_bytes = len(block)
            del block
            head = struct.pack("<IBQBI", 13 + len(payload), BLOCK, index, codec, raw_bytes)
            self.output.put(head, payload, after=self.block_written)

    def block_written(self):
        with self.changed:
            self.free_slots += 1
            self.unsettled -= 1
            self.changed.notify_all()


# What tells one block device from another, best first, as in src/io/device_info.cpp: either agent may
# continue a dump that the other began, so both must say the same. (name, file of /sys, bytes to skip)
IDENTITY_SOURCES = (
    ("serial", "device/serial", 0),
    ("serial", "serial", 0),
    ("serial", "device/vpd_pg80", 4),
    ("serial", "../device/serial", 0),
    ("serial", "../serial", 0),
    ("wwid", "device/wwid", 0),
    ("wwid", "wwid", 0),
    ("wwid", "../device/wwid", 0),
    ("wwid", "../wwid", 0),
    ("model", "device/model", 0),
    ("model", "../device/model", 0),
    ("partition", "partition", 0),
    ("uuid", "dm/uuid", 0),
    ("uuid", "uuid", 0),
    ("name", "dm/name", 0),
    ("backing_file", "loop/backing_file", 0),
)


def system_file(path, bytes_max):
    """What can be read of it."""
    content = b""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return content
    try:
        while len(content) < bytes_max:
            part = os.read(fd, min(4096, bytes_max - len(content)))
            if not part:
                break
            content += part
    except OSError:
        pass
    finally:
        os.close(fd)
    return content


def identity_field(path, skip_bytes):
    """The first line without blanks at its ends, as printable ASCII; fields are separated by blanks."""
    content = system_file(path, IDENTITY_FIELD_BYTES_MAX + skip_bytes)[skip_bytes:]
    line = content.split(b"\n", 1)[0].lstrip(b" \t").rstrip(b" \t\0").replace(b" ", b"_")
    return "".join(
        chr(c) if 0x20 <= c < 0x7F else " " if c == 9 else "\\x%02x" % c for c in bytearray(line)
    )


def identity(status):
    """device_identity() of src/io/device_info.cpp, to the byte."""
    if not stat.S_ISBLK(status.st_mode):
        place = (status.st_ino, os.major(status.st_dev), os.minor(status.st_dev))
        return "inode=%d dev=%d:%d" % place
    number = "%d:%d" % (os.major(status.st_rdev), os.minor(status.st_rdev))
    text = "dev=" + number
    for name, path, skip_bytes in IDENTITY_SOURCES:
        key = " %s=" % name
        if key in text:
            continue
        value = identity_field("/sys/dev/block/%s/%s" % (number, path), skip_bytes)
        if value and len(text) + len(key) + len(value) <= IDENTITY_BYTES_MAX:
            text += key + value
    return text


def refuse_if_gone(failure, offset):
    """A device that is no longer there has no bad sectors to read around."""
    if failure.errno in (errno.ENXIO, errno.ENODEV, errno.ENOMEDIUM):
        raise Failure(READ_FAILED, failure.strerror, failure.errno, offset)


def shrank(offset):
    return Failure(SOURCE_SHRANK, "the source ends at byte %d" % offset, 0, offset)


def add_bad_range(ranges, offset, length):
    if ranges and sum(ranges[-1]) == offset:
        ranges[-1] = (ranges[-1][0], ranges[-1][1] + length)
    else:
        ranges.append((offset, length))


def lower_priority():
    """Of all threads: the writer of stdout runs already. What fails here costs only politeness."""
    try:
        threads = [int(name) for name in os.listdir("/proc/self/task")]
        for thread in threads:
            os.setpriority(os.PRIO_PROCESS, thread, 19)
        import ctypes  # not everywhere

        number = {"x86_64": 251, "aarch64": 30}[platform.machine()]
        for thread in threads:
            ctypes.CDLL(None).syscall(number, 1, thread, 3 << 13)  # ioprio_set(process, …, idle)
    except Exception:
        pass


def main():
    arguments = sys.argv[1:]
    try:
        nonce = bytes.fromhex(arguments[-1])
    except (IndexError, ValueError):
        nonce = b""
    if len(nonce) != 16:
        sys.stderr.write("usage: python3 fallback.py NONCE\n")
        sys.exit(2)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    # stdout carries frames alone: whatever else is printed here goes to stderr.
    out_fd = os.dup(1)
    os.dup2(2, 1)
    for fd in (0, out_fd):
        try:
            fcntl.fcntl(fd, 1031, 1 << 20)  # F_SETPIPE_SZ
        except OSError:
            pass

    output = Output(out_fd)
    agent = Agent(nonce, output)

    def fail(failure):
        def leave():
            os._exit(1)

        payload = struct.pack("<HIQ", failure.code, failure.errno_value or 0, failure.offset)
        output.put(frame(ABORT, payload + text_field(failure.text, NOTE_BYTES_MAX)), after=leave)

    def guarded(stage):
        try:
            stage()
        except Failure as failure:
            fail(failure)
        except MemoryError:
            fail(Failure(INTERNAL, "out of memory", errno.ENOMEM))
        except Exception as e:
            fail(Failure(INTERNAL, "%s: %s" % (type(e).__name__, e)))

    def spawn(stage, count=1):
        for _ in range(count):
            threading.Thread(target=guarded, args=(stage,), daemon=True).start()

    def serve():
        agent.hello()
        agent.start()
        agent.open_source()
        spawn(agent.read)
        spawn(agent.digest, agent.threads)
        spawn(agent.announce)
        spawn(agent.send, agent.threads)
        agent.control()

    spawn(output.run)
    guarded(serve)
    threading.Event().wait()  # the writer ends the process once ABORT is out


if __name__ == "__main__":
    main()
