"""Checks a loose store without diskdump's own code: every block file decodes to its name's SHA-256,
every row of the index has its file, every block of every manifest is there."""

import hashlib
import os
import sqlite3
import struct

MAGIC = 0x184D2204
UNCOMPRESSED = 0x80000000


def decode_block(source, out):
    """One LZ4 block onto `out`, which may hold what matches refer to."""
    at, end = 0, len(source)
    while at < end:
        token = source[at]
        at += 1
        length = token >> 4
        if length == 15:
            while True:
                more = source[at]
                at += 1
                length += more
                if more != 255:
                    break
        out += source[at:at + length]
        at += length
        if at >= end:
            return
        offset = source[at] | source[at + 1] << 8
        at += 2
        length = (token & 15) + 4
        if length == 19:
            while True:
                more = source[at]
                at += 1
                length += more
                if more != 255:
                    break
        start = len(out) - offset
        if offset == 0 or start < 0:
            raise ValueError("a match before the beginning")
        if offset >= length:
            out += out[start:start + length]
        else:
            pattern = bytes(out[start:])
            out += (pattern * (length // offset + 1))[:length]


def decode_frame(frame):
    """The content of one LZ4 frame."""
    magic, flags, _ = struct.unpack_from("<IBB", frame)
    if magic != MAGIC or flags >> 6 != 1:
        raise ValueError("no LZ4 frame")
    at = 6 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0) + 1
    out = bytearray()
    while True:
        (size,) = struct.unpack_from("<I", frame, at)
        at += 4
        if size == 0:
            break
        length = size & ~UNCOMPRESSED
        part = frame[at:at + length]
        if size & UNCOMPRESSED:
            out += part
        else:
            decode_block(part, out)
        at += length + (4 if flags & 16 else 0)
    if at + (4 if flags & 4 else 0) != len(frame):
        raise ValueError("bytes after the frame")
    return bytes(out)


def block_files(base):
    """digest in hex → path"""
    found = {}
    for where, _, names in os.walk(os.path.join(base, ".blockstore")):
        for name in names:
            if name.endswith(".lz4"):
                found[name[:-4]] = os.path.join(where, name)
    return found


def index_rows(base):
    path = os.path.join(base, ".blockstore", "blocks.db")
    if not os.path.exists(path):
        return {}
    with sqlite3.connect(path) as index:
        return dict(index.execute("SELECT hash, compressed_size FROM blocks"))


def manifest_blocks(path):
    with open(path, encoding="utf-8") as manifest:
        return [line.strip() for line in manifest if line.strip() and not line.startswith("#")]


def check(base, sample=None):
    """What is wrong with the store, as sentences. `sample`: look into only so many blocks."""
    wrong = []
    files = block_files(base)
    for number, (name, path) in enumerate(sorted(files.items())):
        if sample is not None and number >= sample:
            break
        with open(path, "rb") as block:
            frame = block.read()
        try:
            if hashlib.sha256(decode_frame(frame)).hexdigest() != name:
                wrong.append(f"{path}: its content has another digest")
        except (ValueError, IndexError, struct.error) as failure:
            wrong.append(f"{path}: {failure}")
        if path != os.path.join(base, ".blockstore", name[:2], name[2:4], name + ".lz4"):
            wrong.append(f"{path}: in the wrong folder")
    for name, size in index_rows(base).items():
        if name not in files:
            wrong.append(f"the index has {name}, the store has not")
        elif os.path.getsize(files[name]) != size:
            wrong.append(f"{name}: the index says {size} bytes")
    for where, _, names in os.walk(base):
        for name in names:
            if name.endswith(".manifest"):
                path = os.path.join(where, name)
                missing = set(manifest_blocks(path)) - set(files)
                if missing:
                    wrong.append(f"{path}: {len(missing)} of its blocks are missing")
    return wrong
