#!/usr/bin/env python3
"""Runs clang-tidy-19 with the list of .clang-tidy over src/ and agent/: clang_tidy.py BUILD_DIR [ROOT]

A group of files whose text, headers and flags are what they were when it passed is not looked at
again: the build folder keeps a digest per group. Exit status 1 for findings, 77 where the
tool is missing.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys


# Files that the compiler is given in one go: what it does is mostly to read the same headers. The
# sanitizer builds do the same, so names are once per folder.
FILES_AT_ONCE = 8


def own_commands(build_dir, root):
    """{(folder to run in, compiler and flags): [source, …]} of the files of ours, without the compiler
    cache before them."""
    with open(os.path.join(build_dir, "compile_commands.json"), encoding="utf-8") as database:
        entries = json.load(database)
    found, seen = {}, set()
    for entry in entries:
        source = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
        relative = os.path.relpath(source, root)
        if relative.split("/")[0] not in ("src", "agent") or not source.endswith(".cpp"):
            continue
        if source in seen:
            continue
        seen.add(source)
        words = shlex.split(entry["command"])
        if os.path.basename(words[0]) in ("ccache", "sccache"):
            words = words[1:]
        flags, skip = [], False
        for word in words:
            if skip:
                skip = False
            elif word in ("-o", "-MF", "-MQ", "-MT"):
                skip = True
            elif word not in ("-c", "-MD", "-MMD", entry["file"]):
                flags.append(word)
        found.setdefault((entry["directory"], *flags), []).append(source)
    return found


def groups_of(commands, state_dir):
    """(folder to run in, flags, a source that includes some of the files) for all of them."""
    groups = []
    for (directory, *flags), sources in commands.items():
        for first in range(0, len(sources), FILES_AT_ONCE):
            text = "".join(f'#include "{s}"\n' for s in sources[first:first + FILES_AT_ONCE])
            path = os.path.join(state_dir, f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.cpp")
            with open(path, "w", encoding="utf-8") as source:
                source.write(text)
            groups.append((directory, flags, path))
    return groups


def headers_of(directory, flags, source):
    """All of our files that the compiler reads for this source."""
    done = subprocess.run([*flags, source, "-MM", "-MG"], cwd=directory, check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    listed = done.stdout.replace("\\\n", " ").partition(":")[2].split()
    return [os.path.join(directory, name) for name in listed]


def digest_of(paths, words, config):
    digest = hashlib.sha256(config + "\0".join(words).encode())
    for path in sorted(paths):
        try:
            with open(path, "rb") as source:
                digest.update(path.encode() + b"\0" + source.read())
        except OSError:
            digest.update(path.encode())
    return digest.hexdigest()


def main():
    build_dir = os.path.abspath(sys.argv[1])
    root = os.path.realpath(sys.argv[2] if len(sys.argv) > 2 else
                            os.path.join(os.path.dirname(__file__), "../.."))
    tool = shutil.which("clang-tidy-19")
    if tool is None:
        print("skipped: clang-tidy-19 is not installed")
        return 77
    commands = own_commands(build_dir, root)
    if not commands:
        print("no file of src/ or agent/ is in compile_commands.json")
        return 1
    with open(os.path.join(root, ".clang-tidy"), "rb") as config_file:
        config = config_file.read()
    state_dir = os.path.join(build_dir, "clang-tidy")
    os.makedirs(state_dir, exist_ok=True)

    def look(group):
        directory, flags, source = group
        state = source + ".sha256"
        digest = digest_of([source, *headers_of(directory, flags, source)], flags, config)
        try:
            with open(state, encoding="ascii") as known:
                if known.read() == digest:
                    return True, ""
        except OSError:
            pass
        # Flags for other compilers' warnings are nothing to clang-tidy.
        done = subprocess.run(
            [tool, "--quiet", source, "--", *flags[1:], "-Wno-unknown-warning-option",
             "-Wno-ignored-optimization-argument"],
            cwd=directory, check=False, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        # Nothing that clang-tidy says of other people's headers is ours to mend.
        output = re.sub(r"^\d+ warnings? .*$\n?|^Suppressed .*$\n?|^Use -header-filter.*$\n?", "",
                        done.stdout, flags=re.M)
        if done.returncode == 0:
            with open(state, "w", encoding="ascii") as known:
                known.write(digest)
        return done.returncode == 0, output

    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for good, output in pool.map(look, groups_of(commands, state_dir)):
            if not good:
                bad += 1
                print(output)
    files = sum(len(sources) for sources in commands.values())
    print(f"{files} files, {bad} groups of them with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
