#!/usr/bin/env python3
"""Runs clang-tidy-19 with the list of .clang-tidy over src/ and agent/: clang_tidy.py BUILD_DIR [ROOT]

A source whose text, headers and flags are what they were when it passed is not looked at again: the
build folder keeps a digest for each. Exit status 1 for findings, 77 where the
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


def own_commands(build_dir, root):
    """[(folder to run in, compiler and flags, source)] of what is compiled of src/ and agent/, without
    the compiler cache before it. In a build that gives the compiler several files in one go (meson's
    unity) a source includes them, and lies in the build folder's src/ or agent/."""
    with open(os.path.join(build_dir, "compile_commands.json"), encoding="utf-8") as database:
        entries = json.load(database)
    found = {}
    for entry in entries:
        source = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
        here = build_dir if re.search(r"-unity\d+\.cpp$", source) else root
        if os.path.relpath(source, here).split(os.sep)[0] not in ("src", "agent") or \
                not source.endswith(".cpp"):
            continue
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
        found.setdefault(source, (entry["directory"], flags, source))
    return list(found.values())


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
        state = os.path.join(state_dir, os.path.relpath(source, root).replace("/", "_") + ".sha256")
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
        for good, output in pool.map(look, commands):
            if not good:
                bad += 1
                print(output)
    print(f"{len(commands)} sources, {bad} with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
