"""How the Python tests are run: unittest, and a last line that run_tests.py counts."""

import signal
import sys
import unittest


# What a failed case has to tell besides its failure; shown last, where a long output is not cut.
remarks = []


def on_terminate(number, frame):
    # Unlike SystemExit this passes through a case, and what was registered with atexit still runs.
    raise KeyboardInterrupt


def run(suite, verbosity=2):
    """Runs a unittest suite; prints the summary; returns the process's exit status."""
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=verbosity).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    skipped = len(result.skipped)
    # A failure in setUpClass is an error of no case of its own: it must not lower the others.
    passed = max(0, result.testsRun - failed - skipped)
    for case, reason in result.skipped:
        print(f"skipped: {case.id().split('.', 1)[-1]}: {reason}")
    for remark in remarks:
        print(remark)
    print(f"[cases] {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if result.wasSuccessful() else 1


def main(names=None):
    """Runs the cases of the script that calls it; `names` or the arguments choose among them."""
    signal.signal(signal.SIGTERM, on_terminate)
    loader = unittest.defaultTestLoader
    chosen = names or sys.argv[1:]
    module = sys.modules["__main__"]
    suite = (loader.loadTestsFromNames(chosen, module) if chosen else
             loader.loadTestsFromModule(module))
    sys.exit(run(suite))
