"""Images to dump. The large ones are made once per build folder and kept there."""

import contextlib
import errno
import fcntl
import os
import random
import shutil
import tempfile

from fixture import BUILD, TRIMMED, run, tool

MIB = 1 << 20
BLOCK = 128 << 10
BATCH_BLOCKS = 80
SPARSE_BYTES = 20 << 30
SPARSE_DATA_BYTES = 500_000
SOURCES = ("/usr/lib/python3", "/usr/include", "/usr/share", "/usr/bin", "/usr/lib")


def bytes_of(seed, count):
    """Bytes that do not compress and are the same in every run."""
    return random.Random(seed).randbytes(count)


def write(path, content):
    with open(path, "wb") as out:
        out.write(content)
    return path


def copy_tree_some(folder, bytes_max):
    """Real files of this machine, at most so many bytes of them."""
    taken = 0
    for top in SOURCES:
        for where, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                source = os.path.join(where, name)
                if os.path.islink(source) or not os.path.isfile(source) or \
                        not os.access(source, os.R_OK):
                    continue
                # Whole file system blocks, and an inode.
                size = os.path.getsize(source) + 4608
                if size > bytes_max / 4:
                    continue
                if taken + size > bytes_max:
                    return
                target = os.path.join(folder, source.lstrip("/"))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copyfile(source, target)
                taken += size


@contextlib.contextmanager
def kept(name):
    """The path of a kept image; made by the body where `path` does not exist yet."""
    folder = os.path.join(BUILD, "e2e-images")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name + ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield os.path.join(folder, name)
    os.chmod(os.path.join(folder, name), 0o644)


def ext4(size_mib=None):
    """An ext4 file system with real files: 256 MiB, half of it in files; 48 MiB in trimmed runs."""
    size = (size_mib or (48 if TRIMMED else 256)) * MIB
    mkfs = tool("mkfs.ext4")
    with kept(f"ext4-{size // MIB}.img") as path:
        if not os.path.exists(path):
            with tempfile.TemporaryDirectory(prefix="ddt-files-") as files:
                copy_tree_some(files, size // 2)
                with open(path + ".part", "wb") as out:
                    out.truncate(size)
                run(mkfs, "-q", "-F", "-d", files, path + ".part")
            os.rename(path + ".part", path)
    return path


def random_image(size, seed=1):
    """Incompressible bytes: a dump of it takes as long as so many bytes take."""
    with kept(f"random-{size}-{seed}.img") as path:
        if not os.path.exists(path):
            with open(path + ".part", "wb") as out:
                left, part = size, 0
                while left:
                    count = min(left, 8 * MIB)
                    out.write(bytes_of((seed << 20) + part, count))
                    left, part = left - count, part + 1
            os.rename(path + ".part", path)
    return path


def sparse(path, size=SPARSE_BYTES):
    """A file of `size` with SPARSE_DATA_BYTES of data in its middle, across block borders."""
    with open(path, "wb") as out:
        out.truncate(size)
        out.seek(size // 2 - 1234)
        out.write(bytes_of(7, SPARSE_DATA_BYTES))
    return path


def islands(path, size, places):
    """A file of `size` that is all holes but for random bytes at {offset: how many}."""
    with open(path, "wb") as out:
        out.truncate(size)
        for number, (offset, count) in enumerate(places.items()):
            out.seek(offset)
            out.write(bytes_of(1000 + number, count))
    assert os.path.getsize(path) == size
    return path


def data_ranges(path):
    """[(from, to)] of what the file system says is no hole, in order."""
    found, end = [], 0
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while end < size:
            try:
                begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError as e:
                if e.errno != errno.ENXIO:  # nothing but a hole behind it
                    raise
                break
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            found.append((begin, end))
    return found


def small(folder):
    """name → path of the images at the borders of blocks and batches."""
    batch = BLOCK * BATCH_BLOCKS
    contents = {
        "empty": b"",
        "one-byte": b"x",
        "one-block": bytes_of(1, BLOCK),
        "block-and-a-byte": bytes_of(2, BLOCK) + b"y",
        "partial-last-block": bytes_of(3, 3 * BLOCK + 4321),
        "zeros": bytes(5 * BLOCK + 17),
        "one-batch": bytes_of(4, batch),
        "batch-and-a-byte": bytes_of(5, batch) + b"z",
        "repeats": (bytes_of(6, BLOCK) + bytes(BLOCK)) * 100 + b"tail",
    }
    return {name: write(os.path.join(folder, name), content) for name, content in contents.items()}
