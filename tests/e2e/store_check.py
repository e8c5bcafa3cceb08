"""Checks a store without diskdump's own code: every block decodes to its name's SHA-256, every row of the
index has its block, every block of every manifest is there."""

import base64
import contextlib
import hashlib
import json
import os
import re
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


def open_index(path):
    """Closed at the end of `with`, and not some time later: SQLite keeps what it knows of a file per process
    and inode number, and takes the file of the next mount, which has the same number, for this one."""
    return contextlib.closing(sqlite3.connect(path))


ENTRY = struct.Struct("<4sB3xII32sQQ")  # magic, codec, stored bytes, reserved, digest, checksums


def is_pack(base):
    """By what it was made as: its index may be missing."""
    try:
        with open(os.path.join(base, ".blockstore", "config.json"), encoding="ascii") as config:
            return json.load(config).get("format") == "pack"
    except FileNotFoundError:
        return False


def index_path(base):
    return os.path.join(base, ".blockstore", "packs.db" if is_pack(base) else "blocks.db")


def pack_rows(base):
    """digest in hex → (stored bytes, pack, offset); nothing where the index is missing"""
    path = index_path(base)
    if not os.path.exists(path):
        return {}
    with open_index(path) as index:
        rows = index.execute("SELECT hash, compressed_size, pack, offset FROM blocks").fetchall()
    return {bytes(key).hex(): (size, pack, offset) for key, size, pack, offset in rows}


def check_packs(base, sample=None):
    """What is wrong with the rows of a store of packs: every one must name a whole entry."""
    wrong = []
    rows = pack_rows(base)
    for number, (name, (size, pack, offset)) in enumerate(sorted(rows.items())):
        if sample is not None and number >= sample:
            break
        path = os.path.join(base, ".blockstore", "packs", f"{pack:06}.pack")
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                entry = file.read(ENTRY.size + size)
            magic, codec, stored, reserved, digest, _, _ = ENTRY.unpack_from(entry)
            if (magic, codec, stored, reserved) != (b"\x8dblk", 1, size, 0) or digest.hex() != name:
                wrong.append(f"{name}: the entry in {path} at {offset} is another")
            elif hashlib.sha256(decode_frame(entry[ENTRY.size:])).hexdigest() != name:
                wrong.append(f"{name}: the content in {path} at {offset} has another digest")
        except (OSError, ValueError, IndexError, struct.error) as failure:
            wrong.append(f"{name}: {path} at {offset}: {failure}")
    return wrong


def held_blocks(base):
    """The digests that the store holds, in hex."""
    return set(pack_rows(base)) if is_pack(base) else set(block_files(base))


def index_rows(base):
    path = os.path.join(base, ".blockstore", "blocks.db")
    if not os.path.exists(path):
        return {}
    with open_index(path) as index:
        return dict(index.execute("SELECT hash, compressed_size FROM blocks"))


def pack_content(base, name):
    """The content of one block of a store of packs."""
    with open_index(os.path.join(base, ".blockstore", "packs.db")) as index:
        size, pack, offset = index.execute("SELECT compressed_size, pack, offset FROM blocks WHERE hash = ?",
                                           (bytes.fromhex(name),)).fetchone()
    with open(os.path.join(base, ".blockstore", "packs", f"{pack:06}.pack"), "rb") as file:
        file.seek(offset)
        return decode_frame(file.read(ENTRY.size + size)[ENTRY.size:])


def manifest_lists(path):
    """The lists that a manifest names, in hex; None where it holds the digests itself."""
    with open(path, encoding="utf-8") as manifest:
        if manifest.readline() != "# diskdump manifest v2\n":
            return None
        return [base64.b64decode(line.strip() + "=", validate=True).hex()
                for line in manifest if line.strip() and not line.startswith("#")]


def manifest_total(path):
    with open(path, encoding="utf-8") as manifest:
        for line in manifest:
            if line.startswith("# total_blocks: "):
                return int(line.split(": ")[1])
    raise ValueError(f"{path}: no total_blocks")


def manifest_blocks(path, base=None, whole=True):
    """The digests that a manifest holds, or its lists in the store at `base`. What an interrupted dump left is
    not `whole`."""
    lists = manifest_lists(path)
    if lists is None:
        with open(path, encoding="utf-8") as manifest:
            return [line.strip() for line in manifest if line.strip() and not line.startswith("#")]
    found = []
    total = manifest_total(path)
    for name in lists:
        content = pack_content(base, name)
        wanted = min(4096, total - len(found))
        fits = len(content) == 32 * wanted or not whole and name == lists[-1] and len(content) <= 32 * wanted
        if not fits or hashlib.sha256(content).hexdigest() != name:
            raise ValueError(f"{path}: {name} is no list of {wanted} digests")
        found += [content[at:at + 32].hex() for at in range(0, len(content), 32)]
    if whole and len(found) != total:
        raise ValueError(f"{path}: {len(found)} digests instead of {total}")
    return found


def needed_by(path, base, whole=True):
    """The blocks of the store that a manifest needs: its lists, and what they name."""
    return set(manifest_lists(path) or []) | set(manifest_blocks(path, base, whole))


# What a store holds while nobody works on it, as FORMAT.md has it: nothing in tmp, no lease, no index that
# is being made, no journal of one. What dumps broke off and what was set aside is meant to stay.
LAYOUT = [re.compile(pattern) for pattern in (
    r"\.blockstore/config\.json",
    r"\.blockstore/([0-9a-f]{2})/([0-9a-f]{2})/\1\2[0-9a-f]{60}\.lz4",
    r"\.blockstore/(blocks|packs)\.db(-wal|-shm)?",
    r"\.blockstore/(blocks|packs)\.db\.damaged-[0-9]+(-wal|-shm|-journal)?",
    r"\.blockstore/packs/[0-9]{6,}\.pack",
    r"\.blockstore/manifests/[^/]+/[0-9]+\.manifest",
    r"\.blockstore/interrupted/[^/]+\.part",
    r"\.blockstore/protected/.+\.protected",
    r"\.blockstore/quarantine/[0-9a-f]{64}\.[0-9]+",
    r"\.blockstore/(open|repair|gc)\.lock",
    r"\.blockstore/verify-cursor",
    r"[0-9]{4}/[0-9]{2}/[0-9]{2}/[^/]+\.manifest",
)]


def leftovers(base):
    """Every file, and every folder of a temporary nature, that a store at rest should not have."""
    found = []
    for where, folders, names in os.walk(base):
        inside = os.path.relpath(where, base)
        if inside == os.path.join(".blockstore", "tmp"):
            names = names + folders
        paths = [os.path.normpath(os.path.join(inside, name)) for name in names]
        found += [path for path in paths if not any(p.fullmatch(path) for p in LAYOUT)]
    return sorted(found)


def check(base, sample=None):
    """What is wrong with the store, as sentences. `sample`: look into only so many blocks."""
    wrong = check_packs(base, sample) if is_pack(base) else check_files(base, sample)
    held = held_blocks(base)
    for where, _, names in os.walk(base):
        for name in names:
            if name.endswith(".manifest"):
                path = os.path.join(where, name)
                lists = set(manifest_lists(path) or [])
                if lists - held:
                    wrong.append(f"{path}: {len(lists - held)} of its lists are missing")
                    continue
                try:
                    missing = needed_by(path, base) - held
                except (OSError, ValueError, IndexError, struct.error) as failure:
                    wrong.append(f"{path}: {failure}")
                    continue
                if missing:
                    wrong.append(f"{path}: {len(missing)} of its blocks are missing")
    return wrong


def check_files(base, sample=None):
    """The same for what block files and their rows say."""
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
    return wrong
