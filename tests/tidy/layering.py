#!/usr/bin/env python3
"""The direction of includes: layering.py [ROOT]

Checks all of src/ and agent/: an include of ours points downward only; a third-party header is
included by one or two files of the folder that owns the library; the parts of Asio that src/async
wraps are not used raw elsewhere. Prints what is wrong; exit status 1 if anything is.
"""

import fnmatch
import os
import re
import sys

# What a folder may include besides its own headers. store, wire and transport are peers; wire is
# I/O-free and so does without async and io.
MAY_INCLUDE = {
    "base": set(),
    "codec": {"base"},
    "async": {"base", "codec"},
    "io": {"base", "codec", "async"},
    "wire": {"base", "codec"},
    "transport": {"base", "codec", "async", "io"},
    "store": {"base", "codec", "async", "io"},
    "pipeline": {"base", "codec", "async", "io", "wire", "transport", "store"},
    "bench": {"base", "codec", "async", "io", "transport", "store", "pipeline"},
    "cli": {"base", "codec", "async", "io", "wire", "transport", "store", "pipeline", "bench",
            "agent"},
    # No libssh2, no store, no SQLite in what is put on a target.
    "agent": {"base", "codec", "async", "io", "wire"},
}
# The agent as diskdump carries it: bytes for the transport, no part of the agent's program.
EMBEDDED = "agent/embedded*"
EMBEDDED_MAY_INCLUDE = {"base", "codec", "transport"}

# Header pattern → the folders that may include it, and in how many files each.
THIRD_PARTY = [
    (["asio.hpp", "asio/*"], {"src/async": 2}),
    # The ring, what a disk submits to it, and the probe.
    (["liburing.h", "liburing/*"], {"src/io": 3}),
    (["libssh2.h", "libssh2_*"], {"src/transport": 2}),
    # Digests for blocks, fingerprints and random numbers for connections.
    (["openssl/*"], {"src/codec": 2, "src/transport": 2}),
    (["lz4*"], {"src/codec": 2}),
    (["libdeflate.h"], {"src/codec": 1}),
    (["xxhash.h"], {"src/codec": 1}),
    (["fmt/*"], {"src/base": 2}),
    (["sqlite3.h"], {"src/store": 2}),
    (["CLI/*"], {"src/cli": 2}),
    # config.json of the store, events of the command line.
    (["nlohmann/*"], {"src/store": 2, "src/cli": 3}),
]

SYSTEM_FOLDERS = ("sys/", "linux/", "netinet/", "arpa/", "net/", "asm/", "bits/")
SYSTEM_HEADERS = {
    "dirent.h", "dlfcn.h", "endian.h", "errno.h", "fcntl.h", "fnmatch.h", "getopt.h", "grp.h", "langinfo.h",
    "locale.h", "netdb.h", "poll.h", "pthread.h", "pty.h", "pwd.h", "sched.h", "signal.h",
    "spawn.h", "stdio.h", "stdlib.h", "string.h", "syslog.h", "termios.h", "time.h", "unistd.h",
    "immintrin.h", "cpuid.h", "malloc.h",
}

# Text → the only files that may hold it.
RAW_ASIO = [
    (re.compile(r"\bexperimental::(basic_)?(concurrent_)?channel\b"), ["src/async/*"]),
    (re.compile(r"\bdetached\b"), ["src/async/*", "src/cli/main.cpp", "agent/main.cpp"]),
    (re.compile(r"\bawaitable_operators\b"), ["src/async/*"]),
    (re.compile(r"\bco_spawn\s*\("), ["src/async/*", "src/cli/runtime.cpp", "agent/main.cpp"]),
]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def without_comments(text):
    """Comments become blanks, so that line numbers stay."""
    blank = lambda match: re.sub(r"[^\n]", " ", match.group(0)) if match.group(0)[0] == "/" else \
        match.group(0)
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def sources(root):
    for top in ("src", "agent"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".hpp", ".cpp", ".h", ".c")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def layer_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "src" else "agent"


def may_include(path):
    layer = layer_of(path)
    if fnmatch.fnmatch(path, EMBEDDED):
        return EMBEDDED_MAY_INCLUDE
    return MAY_INCLUDE.get(layer, set())


def is_system(header):
    return ("." not in header or header in SYSTEM_HEADERS or
            header.startswith(SYSTEM_FOLDERS))


def check(root):
    """The violations below `root`, as sentences."""
    wrong = []
    users = {}  # index into THIRD_PARTY → folder → files
    for path in sources(root):
        with open(os.path.join(root, path), encoding="utf-8") as source:
            text = source.read()
        code = without_comments(text)
        layer = layer_of(path)
        if layer not in MAY_INCLUDE:
            wrong.append(f"{path}: the folder is no layer of tests/tidy/layering.py")
            continue
        for match in INCLUDE.finditer(code):
            where = f"{path}:{code.count(chr(10), 0, match.start()) + 1}"
            bracket, header = match.groups()
            if bracket == '"':
                folder = header.split("/")[0]
                if "/" not in header:
                    if layer != "agent":
                        wrong.append(f'{where}: "{header}" is named without its folder')
                elif header.startswith("."):
                    wrong.append(f'{where}: "{header}" is a relative path')
                elif folder == "agent" and layer == "cli":
                    if not fnmatch.fnmatch(header, EMBEDDED):
                        wrong.append(f"{where}: cli takes of the agent only its embedded bytes")
                elif folder != layer and folder not in may_include(path):
                    wrong.append(f'{where}: {layer} may not include "{header}" of {folder}')
                continue
            for number, (patterns, folders) in enumerate(THIRD_PARTY):
                if any(fnmatch.fnmatch(header, pattern) for pattern in patterns):
                    folder = os.path.dirname(path)
                    owner = next((f for f in folders if folder == f or folder.startswith(f + "/")),
                                 None)
                    if owner is None:
                        wrong.append(f"{where}: <{header}> belongs to {' and '.join(folders)}")
                    else:
                        users.setdefault(number, {}).setdefault(owner, set()).add(path)
                    break
            else:
                if not is_system(header):
                    wrong.append(f"{where}: <{header}> is not in tests/tidy/layering.py: which "
                                 "folder owns it?")
        for pattern, allowed in RAW_ASIO:
            if any(fnmatch.fnmatch(path, a) for a in allowed):
                continue
            for match in pattern.finditer(code):
                wrong.append(f"{path}:{code.count(chr(10), 0, match.start()) + 1}: "
                             f"`{match.group(0)}` is for src/async; use scope and channel")
    for number, folders in users.items():
        patterns, allowed = THIRD_PARTY[number]
        for folder, files in folders.items():
            if len(files) > allowed[folder]:
                wrong.append(f"<{patterns[0]}> is included by {len(files)} files of {folder}, not "
                             f"{allowed[folder]}: {', '.join(sorted(files))}")
    return wrong


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../..")
    files = len(list(sources(root)))
    wrong = check(root)
    print("\n".join(wrong) or f"{files} files include downward only")
    return 1 if wrong or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
