#!/usr/bin/env python3
"""Shows that each safety test fails without the protection that it guards.

    protections.py                 every entry of protection_list.py
    protections.py --only NAME …   some of them
    protections.py --list          what there is

In a private copy of the source tree: all that is named is built and every case must pass. Then, one
after the other, a protection is taken out, its test program is built, and its case must fail. A
protection that can go without a case noticing is guarded by nobody, and counts as a failure, like a
text that is not in its file exactly once. The last line is `N passed, N failed`, with `, N skipped`
where somebody else than root runs it: a few cases mount file systems.

The copy is removed in the end; with --folder it stays, and the next run builds only what changed.
Nothing of the tree that this script stands in is written to.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import cases
import run_tests
from protection_list import PROTECTIONS, mutated, stale

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
# Without a protection a case may wait for what never comes.
CASE_TIMEOUT_S = 180
OUTPUT_TAIL_CHARS = 3000
# Compiled for speed of compiling: several files at once, unoptimized. What is slow in these cases is
# the kernel.
MESON_OPTIONS = ["-Dbuildtype=plain", "-Doptimization=0", "-Ddebug=false", "-Dunity=on",
                 "-Dunity_size=8"]
COMPILERS = [("clang-19", "clang++-19"), ("gcc-15", "g++-15"), ("gcc-14", "g++-14"),
             ("gcc-13", "g++-13"), ("clang", "clang++"), ("gcc", "g++")]


def say(text):
    print(text, flush=True)


def compiler():
    """CXX and CC as they are given, or the first of those that ./bootstrap looks for."""
    if "CXX" in os.environ:
        return {"CXX": os.environ["CXX"], "CC": os.environ.get("CC", "cc")}
    for c, cxx in COMPILERS:
        if shutil.which(cxx):
            cache = "ccache " if shutil.which("ccache") else ""
            return {"CXX": cache + cxx, "CC": cache + c}
    return {}


class Copy:
    """A copy of the source tree, and one build folder in it."""

    def __init__(self, folder, jobs):
        self.tree = os.path.join(folder, "tree")
        self.build = os.path.join(self.tree, "build")
        self.jobs = jobs
        self.changed = set()  # paths of files that are not as in ROOT
        # The same file compiles to the same object wherever the copy lies.
        self.env = {**os.environ, **compiler(), "CCACHE_BASEDIR": self.tree,
                    "CCACHE_NOHASHDIR": "1", "DISKDUMP_TEST_BUILD": self.build}

    def bring_up_to_date(self):
        """Only files that differ are written, so that a copy that was kept builds only those."""
        kept = set()
        for folder, subfolders, names in os.walk(ROOT):
            below = os.path.relpath(folder, ROOT)
            subfolders[:] = [s for s in subfolders if s not in (".git", "__pycache__") and
                             not (below == "." and s.startswith("build"))]
            os.makedirs(os.path.join(self.tree, below), exist_ok=True)
            for name in names:
                path = os.path.normpath(os.path.join(below, name))
                kept.add(path)
                self.restore(path)
        for folder, subfolders, names in os.walk(self.tree):
            below = os.path.relpath(folder, self.tree)
            if below == ".":
                subfolders[:] = [s for s in subfolders if s != "build"]
            for name in names:
                if os.path.normpath(os.path.join(below, name)) not in kept:
                    os.unlink(os.path.join(folder, name))

    def restore(self, path):
        source, target = os.path.join(ROOT, path), os.path.join(self.tree, path)
        with open(source, "rb") as file:
            content = file.read()
        if os.path.isfile(target):
            with open(target, "rb") as file:
                if file.read() == content:
                    return
        # With the time of now: the object that stands there is of another text.
        with open(target, "wb") as file:
            file.write(content)
        shutil.copymode(source, target)

    def take_out(self, protection):
        """Leaves this protection out, and no other."""
        for path in self.changed:
            self.restore(path)
        texts = mutated(ROOT, protection)
        self.changed = set(texts)
        for path, text in texts.items():
            with open(os.path.join(self.tree, path), "w", encoding="utf-8") as file:
                file.write(text)

    def configure(self):
        if os.path.exists(os.path.join(self.build, "build.ninja")):
            return
        self.run(["meson", "setup", self.build, self.tree, *MESON_OPTIONS])

    def make(self, targets):
        self.run(["ninja", "-C", self.build, "-j", str(self.jobs), "--quiet", *sorted(targets)])

    def run(self, command):
        done = subprocess.run(command, env=self.env, check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command[:2])} failed:\n{done.stdout[-OUTPUT_TAIL_CHARS:]}")

    def passes(self, test):
        """Whether the case passes, None where it cannot run here; and its output."""
        command = {"cmd": test.command(self.tree, self.build)}
        output, status, _ = run_tests.run_one(command, self.env, CASE_TIMEOUT_S, self.build)
        counts = run_tests.count_cases(output, status, True)
        if counts.failed == 0 and counts.passed == 0:
            return None, output
        return counts.failed == 0, output


def check_whole(copy, chosen):
    """The cases that do not pass while everything is in place: {test: why}."""
    bad = {}
    for test in sorted({p.test for p in chosen}, key=str):
        passed, output = copy.passes(test)
        if passed:
            continue
        bad[test] = "its case cannot run here" if passed is None else \
            "its case fails with the protection in place:\n" + output[-OUTPUT_TAIL_CHARS:]
    return bad


def judge(copy, protection, bad):
    """What is wrong with the entry; None if its case fails as it should."""
    if protection.test in bad:
        return bad[protection.test]
    copy.take_out(protection)
    try:
        copy.make([protection.test.target])
    except RuntimeError as failure:
        return f"it does not build without the protection: {failure}"
    passed, output = copy.passes(protection.test)
    if passed is None:
        return f"no case was found:\n{output[-OUTPUT_TAIL_CHARS:]}"
    return f"nobody notices that it is gone: {protection.test} passes" if passed else None


def run(copy, chosen):
    counts = run_tests.Counts()
    start = time.monotonic()
    copy.bring_up_to_date()
    copy.configure()
    copy.make({p.test.target for p in chosen})
    built = time.monotonic()
    bad = check_whole(copy, chosen)
    say(f"==> built in {built - start:.0f} s; the cases as they are took "
        f"{time.monotonic() - built:.0f} s")
    for protection in chosen:
        began = time.monotonic()
        if protection.needs_root and os.geteuid() != 0:
            say(f"skip {protection.name}: its case needs root")
            counts.skipped += 1
            continue
        wrong = judge(copy, protection, bad)
        counts += run_tests.Counts(failed=1) if wrong else run_tests.Counts(passed=1)
        say(f"{'FAIL' if wrong else 'ok  '} {protection.name}: {protection.what} "
            f"({time.monotonic() - began:.1f} s)" + (f"\n     {wrong}" if wrong else ""))
    say(f"==> all of it took {time.monotonic() - start:.0f} s")
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="names, and what each protects")
    parser.add_argument("--only", metavar="NAME", action="extend", nargs="+", default=[],
                        help="this one; may be given several times")
    parser.add_argument("--folder", help="where the copy is to stay, below build/ or outside the tree (default: a "
                             "temporary folder)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    arguments = parser.parse_args()
    unknown = set(arguments.only) - {p.name for p in PROTECTIONS}
    if unknown:
        parser.error(f"there is no entry {', '.join(sorted(unknown))}; --list shows them")
    chosen = [p for p in PROTECTIONS if not arguments.only or p.name in arguments.only]
    if arguments.list:
        for p in chosen:
            say(f"{p.name}: {p.what}\n    {p.path}; {p.test}")
        return 0
    signal.signal(signal.SIGTERM, cases.on_terminate)
    wrong = stale(ROOT, chosen)
    if wrong:
        say("\n".join(wrong) + f"\n0 passed, {len(wrong)} failed")
        return 1
    with tempfile.TemporaryDirectory(prefix="diskdump-protections-") as temporary:
        counts = run(Copy(os.path.abspath(arguments.folder or temporary), arguments.jobs), chosen)
    say(counts.line())
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
