"""Runs the built diskdump and takes its JSON events apart."""

import dataclasses
import json
import os
import signal
import subprocess

from fixture import DISKDUMP, SANITIZED

TIMEOUT_S = 600 if SANITIZED else 120


@dataclasses.dataclass
class Outcome:
    status: int
    stdout: bytes
    stderr: str
    events: list

    @property
    def targets(self):
        return [e for e in self.events if e.get("event") == "target"]

    @property
    def target(self):
        assert len(self.targets) == 1, f"{len(self.targets)} target events\n{self.text}"
        return self.targets[0]

    @property
    def summary(self):
        return next(e for e in self.events if e.get("event") == "summary")

    @property
    def text(self):
        return self.stdout.decode(errors="replace") + self.stderr

    @property
    def error(self):
        """All that a person is told of what went wrong."""
        return "\n".join([self.stderr] + [str(t.get("error")) for t in self.targets
                                          if t.get("error")])


def environment(extra=None):
    env = {k: v for k, v in os.environ.items() if k not in ("SSH_AUTH_SOCK", "DISKDUMP_BASE")}
    env.update(extra or {})
    return env


class Diskdump:
    """The program with the scenario's store as its base."""

    def __init__(self, case, env=None, prefix=()):
        self.case = case
        # What is put on this machine as a target goes below the scenario's folder, too.
        self.env = environment({"XDG_CACHE_HOME": case.path("cache"), "HOME": case.folder,
                                **(env or {})})
        # Put before the program: a wrapper such as one that refuses io_uring.
        self.prefix = list(prefix)

    def command(self, *arguments, json_events=True, base=True):
        options = ["--base", self.case.store] if base else []
        return [*self.prefix, DISKDUMP, *options, *(["--json"] if json_events else []),
                *map(str, arguments)]

    def run(self, *arguments, expect=0, json_events=True, base=True, stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S, cwd=None):
        """Runs to the end. `expect` is the exit status that the case wants, or None for any."""
        # A session of its own: there is no terminal to ask a person on.
        done = subprocess.run(self.command(*arguments, json_events=json_events, base=base),
                              stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=self.env, timeout=timeout, check=False, cwd=cwd or self.case.folder,
                              start_new_session=True)
        return self.outcome(arguments, done.returncode, done.stdout, done.stderr, expect,
                            json_events)

    def outcome(self, arguments, status, stdout, stderr, expect, json_events=True):
        events = []
        text = stderr.decode(errors="replace")
        shown = f"$ diskdump {' '.join(map(str, arguments))}\n{stdout[-4000:]!r}\n{text[-8000:]}"
        if json_events:
            for line in stdout.decode(errors="replace").splitlines():
                try:
                    events.append(json.loads(line))
                except ValueError:
                    self.case.fail(f"not a JSON object: {line[:200]!r}\n{shown}")
        if expect is not None:
            self.case.assertEqual(status, expect, f"the exit status is {status}, not {expect}\n{shown}")
        # Whatever happens, it must not be a crash; a sanitizer's report ends with 99.
        self.case.assertGreaterEqual(status, 0, f"died of {signal.Signals(-min(status, 0) or 1).name}"
                                                f"\n{shown}")
        self.case.assertNotIn("Sanitizer", text)
        return Outcome(status, stdout, text, events)

    def start(self, *arguments):
        """Starts it in the background; the case ends it if it has not ended by then."""
        process = subprocess.Popen(self.command(*arguments), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env,
                                   cwd=self.case.folder, start_new_session=True)

        def end():
            if process.poll() is None:
                process.kill()
            process.communicate()

        self.case.addCleanup(end)
        return process

    def finish(self, process, arguments=(), expect=None, timeout=TIMEOUT_S):
        stdout, stderr = process.communicate(timeout=timeout)
        return self.outcome(arguments, process.returncode, stdout, stderr, expect)

    def dump(self, *arguments, **options):
        return self.run("dump", *arguments, **options)

    def restore(self, manifest, out, *arguments, **options):
        return self.run("restore", manifest, "-o", out, *arguments, **options)
