#!/usr/bin/env python3
"""Tests of the counting in run_tests.py: what a program's output and exit status are worth."""

import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

import cases
import run_tests
from run_tests import Counts, count_cases

DOCTEST = "[doctest] test cases:  5 |  {passed} passed | {failed} failed | {skipped} skipped\n" \
          "[doctest] assertions: 30 | 30 passed |  0 failed |\n"


def doctest_says(passed, failed, skipped=0):
    return DOCTEST.format(passed=passed, failed=failed, skipped=skipped)


class Counting(unittest.TestCase):
    def test_doctest_cases_are_counted_not_programs(self):
        self.assertEqual(count_cases(doctest_says(5, 0), 0, True), Counts(5, 0, 0))
        self.assertEqual(count_cases(doctest_says(3, 2, 1), 1, True), Counts(3, 2, 1))

    def test_colours_do_not_hide_the_summary(self):
        coloured = "\x1b[0;36m[doctest] \x1b[0mtest cases: 2 | \x1b[0;32m2 passed\x1b[0m | " \
                   "0 failed\x1b[0m | 0 skipped\n"
        self.assertEqual(count_cases(coloured, 0, True), Counts(2, 0, 0))

    def test_unittest_cases_are_counted(self):
        self.assertEqual(count_cases("x\n[cases] 4 passed, 0 failed, 2 skipped\n", 0, True),
                         Counts(4, 0, 2))

    def test_a_crash_without_a_summary_is_a_failure(self):
        self.assertEqual(count_cases("half a li", -11, True), Counts(0, 1, 0))

    def test_a_crash_after_a_good_summary_is_a_failure(self):
        self.assertEqual(count_cases(doctest_says(5, 0), 99, True), Counts(5, 1, 0))

    def test_a_time_out_is_a_failure(self):
        self.assertEqual(count_cases("", None, False), Counts(0, 1, 0))
        self.assertEqual(count_cases(doctest_says(5, 0), None, True), Counts(5, 1, 0))

    def test_a_program_of_cases_that_ran_none_is_a_failure(self):
        self.assertEqual(count_cases("", 0, True), Counts(0, 1, 0))
        self.assertEqual(count_cases(doctest_says(0, 0), 0, True), Counts(0, 1, 0))

    def test_a_check_is_one_case(self):
        self.assertEqual(count_cases("fine", 0, False), Counts(1, 0, 0))
        self.assertEqual(count_cases("bad", 1, False), Counts(0, 1, 0))
        self.assertEqual(count_cases("no tool", 77, False), Counts(0, 0, 1))

    def test_the_line_names_skipped_cases_only_where_there_are_some(self):
        self.assertEqual(Counts(3, 0, 0).line(), "3 passed, 0 failed")
        self.assertEqual(Counts(3, 1, 2).line(), "3 passed, 1 failed, 2 skipped")


class Running(unittest.TestCase):
    def run_script(self, text, timeout_s=30):
        with tempfile.TemporaryDirectory() as folder:
            script = os.path.join(folder, "script.py")
            with open(script, "w", encoding="utf-8") as out:
                out.write(textwrap.dedent(text))
            return run_tests.run_one({"cmd": [sys.executable, script]}, dict(os.environ), timeout_s)

    def test_a_signal_is_reported_as_a_negative_status(self):
        _, status, _ = self.run_script("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
        self.assertEqual(status, -11)

    def test_a_time_out_ends_the_program_and_its_children(self):
        output, status, seconds = self.run_script("""
            import subprocess, sys, time
            child = subprocess.Popen(["sleep", "60"])
            print(child.pid, flush=True)
            time.sleep(60)""", timeout_s=1)
        self.assertIsNone(status)
        self.assertLess(seconds, 30)
        state = f"/proc/{int(output)}/stat"
        if os.path.exists(state):  # a zombie at most, until its new parent has seen to it
            with open(state, encoding="utf-8") as stat:
                self.assertEqual(stat.read().rsplit(")", 1)[1].split()[0], "Z")

    def test_the_summary_of_cases_py_is_understood(self):
        output, status, _ = self.run_script(f"""
            import sys, unittest
            sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r})
            import cases
            class Some(unittest.TestCase):
                def test_good(self): pass
                def test_bad(self): self.fail()
                def test_other(self): self.skipTest("no reason")
            cases.main()""")
        self.assertEqual(count_cases(output, status, True), Counts(1, 1, 1))

    def test_the_whole_ends_with_the_line_alone_and_fails_where_nothing_ran(self):
        with tempfile.TemporaryDirectory() as folder:
            for tool, answer in (("ninja", ""), ("meson", "[]")):
                path = os.path.join(folder, tool)
                with open(path, "w", encoding="utf-8") as out:
                    out.write(f"#!/bin/sh\nprintf '%s' '{answer}'\n")
                os.chmod(path, 0o755)
            done = subprocess.run(
                [sys.executable, run_tests.__file__, f"{folder}:unit"], stdout=subprocess.PIPE,
                env={**os.environ, "PATH": folder + ":" + os.environ["PATH"]}, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.decode().splitlines()[-1], "0 passed, 1 failed")


if __name__ == "__main__":
    cases.main()
