#!/usr/bin/env python3
"""Builds, runs and counts: run_tests.py [--long] [--jobs N] BUILD_DIR:SUITE[,SUITE…] …

For each build folder: `ninja`, then every test that meson knows in the named suites, several at a
time. What is counted are test cases, not programs: a doctest executable and a unittest script say in
a summary line how many cases they had. A check without such a line is one case. A program that
crashes, times out, or is a unit test that ran nothing counts as a failure.

The last line of the output stands alone: `N passed, N failed` or `N passed, N failed, N skipped`.
The exit status is 0 only if something ran and nothing failed.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time

# A skipped check says so with this exit status, as meson has it.
EXIT_SKIPPED = 77
# Sanitized programs are slower by about this factor.
SANITIZER_SLOWDOWN = 5
# What a failing test shows of its output, from the end.
OUTPUT_TAIL_CHARS = 20000

LEAKS_OF_LIBRARIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lsan.supp")

DOCTEST_SUMMARY = re.compile(
    r"^\[doctest\] test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed\s*\|\s*(\d+) skipped",
    re.M)
CASES_SUMMARY = re.compile(r"^\[cases\] (\d+) passed, (\d+) failed, (\d+) skipped$", re.M)


@dataclasses.dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other):
        return Counts(self.passed + other.passed, self.failed + other.failed,
                      self.skipped + other.skipped)

    def line(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def count_cases(output, status, needs_cases):
    """What one program's output and exit status are worth. `status` is None for a time-out,
    negative for a signal."""
    ansi_free = re.sub(r"\x1b\[[0-9;]*m", "", output)
    counts = Counts()
    summaries = 0
    for _, passed, failed, skipped in DOCTEST_SUMMARY.findall(ansi_free):
        counts += Counts(int(passed), int(failed), int(skipped))
        summaries += 1
    for passed, failed, skipped in CASES_SUMMARY.findall(ansi_free):
        counts += Counts(int(passed), int(failed), int(skipped))
        summaries += 1
    if status == EXIT_SKIPPED and summaries == 0:
        return Counts(skipped=1)
    if summaries == 0 and not needs_cases:
        return Counts(passed=1) if status == 0 else Counts(failed=1)
    # A crash after the last case (a leak report, a thread that fell over) is a failure that no case
    # owns; so is a program of cases that had none.
    ran_nothing = counts.passed + counts.failed + counts.skipped == 0
    if counts.failed == 0 and (status != 0 or ran_nothing):
        counts.failed = 1
    return counts


def introspect(build_dir, what):
    done = subprocess.run(["meson", "introspect", f"--{what}", build_dir], check=True,
                          stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def run_one(test, env, timeout_s, build_dir="."):
    """Runs a test in a process group of its own; returns (output, status, seconds)."""
    start = time.monotonic()
    process = subprocess.Popen(test["cmd"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, cwd=test.get("workdir") or build_dir,
                               env={**env, **test.get("env", {})}, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=timeout_s)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)  # our own child and what it started
        try:
            output, _ = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        status = None
    return output.decode("utf-8", "replace"), status, time.monotonic() - start


def say(text):
    print(text, flush=True)


def suite_of(test):
    """meson names suites `project:suite`, and `project` where a test has none."""
    return {name.split(":")[-1] for name in test["suite"]}


def leak_options(test, env):
    """What it takes for lsan.supp to name functions above those of libssh2, which is built without
    frame pointers: stacks that are unwound in full. That takes up to six times as long, so only
    tests that have libssh2 at work do it."""
    if not suite_of(test) & {"address", "e2e"} and test["name"] != "transport":
        return {}
    return {"ASAN_OPTIONS": env["ASAN_OPTIONS"] + ":fast_unwind_on_malloc=0"}


def needs_cases(test, build_dir):
    """Whether a test may not pass without a summary line: end-to-end scripts, doctest programs, and
    the simulation."""
    counted = tuple(os.path.join(os.path.abspath(build_dir), "tests", folder) + "/"
                    for folder in ("unit", "simulation"))
    return "e2e" in suite_of(test) or os.path.abspath(test["cmd"][0]).startswith(counted)


def report(label, output, status, seconds, counts):
    how = {None: "TIMED OUT", 0: ""}.get(
        status, f"exit status {status}" if status is None or status >= 0 else
        f"died of {signal.Signals(-status).name}")
    verdict = "FAIL" if counts.failed else "skip" if counts.passed == 0 else "ok"
    say(f"{verdict:4} {label}: {counts.line()} ({seconds:.1f} s)" +
        (f", {how}" if how and counts.failed else ""))
    if counts.failed:
        say("---- its output " + "-" * 60)
        say(output[-OUTPUT_TAIL_CHARS:].rstrip())
        say("-" * 76)
    elif counts.skipped:
        for reason in sorted(set(re.findall(r"^.*skipped ['\"].*$|^skipped: .*$", output, re.M))):
            say("       " + reason.strip())


def run_folder(build_dir, suites, jobs, long):
    say(f"==> {build_dir}: building")
    if subprocess.run(["ninja", "-C", build_dir, "-j", str(jobs), "--quiet"]).returncode != 0:
        say(f"FAIL {build_dir}: it does not build")
        return Counts(failed=1)
    options = {o["name"]: o["value"] for o in introspect(build_dir, "buildoptions")}
    sanitized = options.get("b_sanitize", "none") != "none"
    tests = [t for t in introspect(build_dir, "tests") if suite_of(t) & suites]
    env = dict(os.environ)
    # The first report ends the program, with a status that no test expects.
    env["ASAN_OPTIONS"] = "exitcode=99:detect_stack_use_after_return=1:strict_string_checks=1"
    env["LSAN_OPTIONS"] = f"suppressions={LEAKS_OF_LIBRARIES}:print_suppressions=0"
    env["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1:exitcode=99"
    env["TSAN_OPTIONS"] = "halt_on_error=1:second_deadlock_stack=1:exitcode=99"
    env["DISKDUMP_TEST_BUILD"] = os.path.abspath(build_dir)
    if sanitized:
        env["DISKDUMP_TEST_SANITIZED"] = "1"
        if not long:
            env["DISKDUMP_TEST_TRIMMED"] = "1"
    if long:
        env["DISKDUMP_TEST_LONG"] = "1"

    say(f"==> {build_dir}: running {len(tests)} test programs of {', '.join(sorted(suites))}")
    total = Counts()

    def run(test):
        timeout_s = test["timeout"] * (SANITIZER_SLOWDOWN if sanitized else 1)
        return run_one(test, {**env, **leak_options(test, env)},
                       timeout_s if timeout_s > 0 else None, build_dir)

    def take(test, result):
        nonlocal total
        output, status, seconds = result
        counts = count_cases(output, status, needs_cases(test, build_dir))
        suite = ",".join(sorted(suite_of(test) & suites))
        report(f"{build_dir} {suite}/{test['name']}", output, status, seconds, counts)
        total += counts

    with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
        waiting = {pool.submit(run, t): t for t in tests if t["is_parallel"]}
        for done in concurrent.futures.as_completed(waiting):
            take(waiting[done], done.result())
    for test in tests:
        if not test["is_parallel"]:
            take(test, run(test))
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="whole suites under the sanitizers too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("folders", nargs="+", metavar="BUILD_DIR:SUITES")
    arguments = parser.parse_args()
    start = time.monotonic()
    total = Counts()
    for folder in arguments.folders:
        build_dir, _, suites = folder.partition(":")
        total += run_folder(build_dir, set(suites.split(",")), max(1, arguments.jobs),
                            arguments.long)
    say(f"==> all of it took {time.monotonic() - start:.0f} s")
    if total.passed + total.failed == 0:
        say("no test ran")
        total.failed = 1
    say(total.line())
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
