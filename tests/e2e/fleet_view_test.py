#!/usr/bin/env python3
"""A dump of many targets, as people and programs see it: --targets-from, the events, the metrics,
the live view on a terminal and the table at its end."""

import contextlib
import fcntl
import itertools
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unicodedata

import images
import terminal
from fixture import (cases, descendants, IS_ROOT, processes_of, read_proc, SANITIZED, wait_until)
from sshd import Sshd
from verbs import FAILED, INTERRUPTED, USAGE, Verbs


class Fleet(Verbs):
    def files(self, count, blocks=3):
        """Images that share their first block."""
        return [self.image(1, *range(100 * n, 100 * n + blocks - 1), name=f"disk{n:02}")
                for n in range(1, count + 1)]

    def list_of(self, text, name="targets.txt"):
        return images.write(self.path(name), text.encode())


class TargetsFrom(Fleet):
    def test_a_list_and_the_command_line_together(self):
        one, two, three = self.files(3)
        spaced = self.path("a disk")
        os.rename(three, spaced)
        listed = self.list_of(f"# our disks\r\n\r\nlocalhost:{two} --as second # it\r\n"
                              f"'localhost:{spaced}' --as \"third\"\r\n")
        done = self.diskdump.dump(f"localhost:{one}", "--as", "first", "--targets-from", listed)
        self.assertEqual(sorted(t["name"] for t in done.targets), ["first", "second", "third"])
        self.assertEqual({t["status"] for t in done.targets}, {"ok"})
        for name, path in (("first", one), ("second", two), ("third", spaced)):
            self.diskdump.restore(name, self.path("out-" + name))
            self.assert_same_content(path, self.path("out-" + name))

    def test_stdin(self):
        one, two = self.files(2)
        listed = self.list_of(f"localhost:{one}\nlocalhost:{two}\n")
        with open(listed, "rb") as stdin:
            done = self.diskdump.dump("--targets-from", "-", stdin=stdin)
        self.assertEqual(done.summary["ok"], 2)

    def test_a_wrong_line_is_named_and_nothing_is_dumped(self):
        [one] = self.files(1)
        for line, why in ((f"localhost:{one} --as a/b", "a/b"),
                          (f"localhost:{one} -p 22", "-p is no flag of a target"),
                          ("nothing", "no path"), ("'", "not closed"),
                          (f"localhost:{one} localhost:{one}", "one target a line"),
                          ("h\x1b[31m", r"h\\x1b\[31m")):
            listed = self.list_of(f"localhost:{one}\n{line}\n")
            with self.subTest(line=line):
                done = self.diskdump.dump("--targets-from", listed, expect=USAGE)
                self.assertRegex(done.stderr, r"targets\.txt:2: .*" + why)
                self.assertNotIn("\x1b", done.stderr)
                self.assertFalse(os.path.exists(os.path.join(self.store, ".blockstore")))

    def test_lists_that_cannot_be_read(self):
        self.assertRegex(self.diskdump.dump("--targets-from", self.path("none"), expect=USAGE).stderr,
                         "none: No such file")
        self.assertRegex(self.diskdump.dump("--targets-from", self.folder, expect=USAGE).stderr,
                         "Is a directory")
        with open(self.path("huge"), "wb") as huge:
            huge.truncate(1 << 40)
        self.assertRegex(self.diskdump.dump("--targets-from", self.path("huge"), expect=USAGE).stderr,
                         "larger than")
        self.assertRegex(self.diskdump.dump("--targets-from", self.list_of("# none\n"),
                                            expect=USAGE).stderr, "no target")
        self.assertRegex(self.diskdump.dump("--targets-from", "-", "--targets-from", "-",
                                            expect=USAGE).stderr, "once")


class Events(Fleet):
    def test_each_target_begins_and_ends_and_all_are_known_before(self):
        one, two = self.files(2)
        missing = self.path("none")
        done = self.diskdump.dump(f"localhost:{one}", "--as", "one", f"localhost:{two}",
                                  f"localhost:{missing}", "--as", "gone", expect=FAILED)
        first = done.events[0]
        self.assertEqual((first["event"], first["target"]), ("start", None))
        self.assertEqual([t["target"] for t in first["targets"]],
                         [f"localhost:{p}" for p in (one, two, missing)])
        self.assertEqual(first["targets"][0]["name"], "one")
        for path in (one, two, missing):
            own = [e["event"] for e in done.events if e.get("target") == f"localhost:{path}"
                   and e["event"] != "progress"]
            self.assertEqual(own, ["start", "target"])
        self.assertEqual({t["name"]: t["attempts"] for t in done.targets}["one"], 1)
        summary = done.summary
        self.assertIs(done.events[-1], summary)
        self.assertEqual((summary["targets"], summary["ok"], summary["failed"]), (3, 2, 1))
        whole = [t for t in done.targets if t["status"] == "ok"]
        self.assertEqual(summary["bytes_saved"], sum(t["bytes"] - t["bytes_wire"] for t in whole
                                                     if t["bytes"] > t["bytes_wire"]))

    def test_progress_is_told_while_it_runs(self):
        server = Sshd(self, wrapper='case "$SSH_ORIGINAL_COMMAND" in *diskdump*) sleep 3;; esac\n'
                                    'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
        [image] = self.files(1)
        done = self.diskdump.dump(*server.arguments, f"{server.host}:{image}")
        told = [e for e in done.events if e["event"] == "progress"]
        each = [e for e in told if e["target"] is not None]
        whole = [e for e in told if e["target"] is None]
        self.assertGreaterEqual(len(each), 2, done.text)
        self.assertEqual(len(each), len(whole))
        self.assertLessEqual(len(whole), done.summary["seconds"])
        self.assertEqual(each[0]["target"], f"{server.host}:{image}")
        self.assertIn(each[0]["state"], ("connecting", "starting"))
        self.assertEqual((whole[0]["targets"], whole[0]["active"], whole[0]["queued"]), (1, 1, 0))
        for event in told:
            for field in ("bytes_done", "bytes_total", "bytes_wire", "bytes_per_second",
                          "bytes_wire_per_second", "dedup_percent", "seconds_left"):
                self.assertIn(field, event)


SAMPLE = re.compile(r'^(diskdump_\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\.)*",?)*)\})? (-?[0-9.]+)$')


class Metrics(Fleet):
    def samples(self, path):
        """{(name, labels): value}, checked as a collector does."""
        found, typed = {}, set()
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.assertTrue(text.endswith("\n"))
        for line in text.splitlines():
            if line.startswith("# "):
                kind, name = line.split()[1:3]
                if kind == "TYPE":
                    self.assertNotIn(name, typed, "a family stands twice")
                    typed.add(name)
                continue
            match = SAMPLE.match(line)
            self.assertTrue(match, line)
            self.assertIn(match[1], typed, "no TYPE before the sample")
            key = (match[1], match[2] or "")
            self.assertNotIn(key, found)
            found[key] = float(match[3])
        return found

    def test_what_became_of_each_target(self):
        one, two = self.files(2)
        missing = self.path('no"ne')
        path = self.path("metrics.prom")
        images.write(path, b"old")
        before = time.time()
        done = self.diskdump.dump(f"localhost:{one}", "--as", "one", f"localhost:{two}", "--as", "two",
                                  f"localhost:{missing}", "--as", "gone", "--metrics", path,
                                  expect=FAILED)
        samples = self.samples(path)
        for target in done.targets:
            labels = 'target="{}",name="{}"'.format(target["target"].replace('"', '\\"'),
                                                   target["name"])
            def value(name):
                return samples[("diskdump_target_" + name, labels)]
            self.assertEqual(value("success"), 1 if target["status"] == "ok" else 0)
            self.assertEqual(value("image_bytes"), target["bytes"])
            self.assertEqual(value("stored_blocks"), target["blocks_stored"])
            self.assertEqual(value("reused_blocks"), target["blocks_reused"])
            self.assertEqual(value("zero_blocks"), target["blocks_zero"])
            self.assertEqual(value("wire_bytes"), target["bytes_wire"])
            self.assertEqual(value("attempts"), 1)
            self.assertLessEqual(before - 1, value("start_time_seconds"))
            self.assertLessEqual(value("start_time_seconds"), value("end_time_seconds"))
            self.assertLessEqual(value("end_time_seconds"), time.time() + 1)
        self.assertEqual(samples[("diskdump_success", "")], 0)
        self.assertEqual(samples[("diskdump_targets", "")], 3)
        self.assertEqual(samples[("diskdump_targets_failed", "")], 1)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o644)
        self.assertEqual([n for n in os.listdir(self.folder) if "metrics" in n], ["metrics.prom"])

    def test_an_interrupted_run_and_a_store_that_cannot_be_opened_are_written_too(self):
        server = Sshd(self, wrapper='sleep 30; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
        path = self.path("m.prom")
        process = self.diskdump.start("dump", *server.arguments, f"{server.host}:/dev/null",
                                      "--metrics", path)
        # Not the server's sessions: one of them is that of the look whether it answers at all.
        self.assertTrue(wait_until(server.agents))
        process.send_signal(signal.SIGINT)
        self.diskdump.finish(process, expect=INTERRUPTED)
        samples = self.samples(path)
        self.assertEqual(samples[("diskdump_success", "")], 0)
        os.unlink(path)
        images.write(os.path.join(self.store, ".blockstore", "config.json"), b"{")
        [one] = self.files(1)
        self.diskdump.dump(f"localhost:{one}", "--metrics", path, expect=FAILED)
        self.assertEqual(self.samples(path)[("diskdump_targets_failed", "")], 1)

    def test_a_file_that_cannot_be_written_is_found_out_first(self):
        [one] = self.files(1)
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        for path in (self.path("none/m.prom"), self.folder, fifo,
                     *(() if IS_ROOT else ("/m.prom",))):
            with self.subTest(path=path):
                done = self.diskdump.dump(f"localhost:{one}", "--metrics", path, expect=FAILED)
                self.assertIn(path, done.stderr)
                self.assertEqual(done.targets, [])
                self.assertFalse(os.path.exists(os.path.join(self.store, ".blockstore")))
        self.assertFalse(os.path.isfile(fifo))

    def test_one_that_cannot_be_written_at_the_end_fails_no_dump(self):
        folder = self.path("metrics")
        os.mkdir(folder)
        server = Sshd(self, wrapper=f'rm -rf {folder}; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
        [one] = self.files(1)
        done = self.diskdump.dump(*server.arguments, f"{server.host}:{one}", "--as", "one",
                                  "--metrics", os.path.join(folder, "m.prom"), expect=FAILED)
        self.assertEqual(done.target["status"], "ok")
        self.assertRegex(done.stderr, "warning: .*metrics are not written: .*m.prom")
        self.diskdump.restore("one", self.path("out"))
        self.assert_same_content(one, self.path("out"))


def columns_of(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
               for c in text)


class Screen(Fleet):
    """diskdump on a terminal of its own."""

    def on_terminal(self, *arguments, columns=80, rows=24, expect=0, env=None, during=None):
        """All that was written to the terminal."""
        outer, inner = pty.openpty()
        self.addCleanup(os.close, outer)
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process = subprocess.Popen(
            self.diskdump.command(*arguments, json_events=False), stdin=inner, stdout=inner,
            stderr=inner, env={**self.diskdump.env, "TERM": "xterm", **(env or {})},
            cwd=self.folder, start_new_session=True)
        os.close(inner)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        out = b""
        end = time.monotonic() + (600 if SANITIZED else 120)
        while time.monotonic() < end:
            if not select.select([outer], [], [], 0.5)[0]:
                continue
            try:
                piece = os.read(outer, 1 << 16)
            except OSError:  # nobody has the other end any more
                break
            out += piece
            if during:
                during(outer, out)
        self.assertEqual(process.wait(10), expect, out[-4000:])
        return out.decode()

    def lines_of(self, text):
        plain = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "\n", text)
        return [line for line in re.split(r"[\r\n]+", plain) if line]

    def fleet(self, count, megabytes):
        """A server under many names, and a list of an image on each."""
        server = Sshd(self)
        server.host = " ".join(f"web{n:02}.example.org" for n in range(count))
        server.write_client_config()
        shared = images.bytes_of(1, megabytes * images.MIB // 2)
        listed = ""
        for n in range(count):
            image = images.write(self.path(f"disk{n:02}.img"),
                                 shared + images.bytes_of(100 + n, megabytes * images.MIB // 2))
            listed += f"web{n:02}.example.org:{image} --as web{n:02}-sda\n"
        return [*server.arguments, "--targets-from", self.list_of(listed)]

    def check_screen(self, text, columns):
        for line in self.lines_of(text):
            self.assertLess(columns_of(line), columns, line)
        self.assertNotIn("\x1b[2J", text, "the whole screen was wiped")

    def test_many_targets_on_a_small_terminal(self):
        fleet = self.fleet(14, 12)
        text = self.on_terminal("dump", *fleet, "--durability", "none", "bad\x1b[2Jhost:/x", "--as", "bad",
                                expect=FAILED)
        self.check_screen(text, 80)
        self.assertRegex(text, r"at work, ")
        self.assertRegex(text, r"15 targets .*%")
        # Whichever a frame showed: what is over between two of them is not seen.
        self.assertRegex(text, "connecting|starting the agent")
        self.assertRegex(text, "[█▌]")
        # Each frame is one of those that a terminal shows at once.
        self.assertEqual(text.count("\x1b[?2026h"), text.count("\x1b[?2026l"))
        ending = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text[text.rindex("\x1b[?2026l"):])
        lines = [line for line in re.split(r"[\r\n]+", ending) if line]
        self.assertTrue(lines[0].startswith("failed  "), ending)
        self.assertIn(r"bad\x1b[2Jhost", lines[0])
        self.assertEqual(sum(1 for line in lines if "disk" in line and "%" in line), 14, ending)
        self.assertIn("15 targets: 14 done, 1 failed", ending)
        self.assertRegex(lines[-1], "did not cross the wire")

    def assert_one_frame(self, shown, targets, jobs):
        """At the foot of the screen: a heading, lines of those at work, the sum of the others, the
        total and the counts. Returns how many lines had those at work, and how many were summed."""
        lines = shown.all_lines()
        foot = shown.row + len(shown.gone)
        self.assertEqual([line for line in lines[foot:] if line], [], "below the cursor")
        # To its end: nothing of a longer line stands behind it, and no size is cut.
        counts = re.fullmatch(r"(\d+) at work(?:, (\d+) queued)?, (\d+) done(?:, (\d+) failed)?"
                              r"(?:; \S+ \w+ of ~?\S+ \w+)?(?:, [\d.]+ \w+ sent)?",
                              lines[foot - 1])
        self.assertTrue(counts, lines[foot - 1])
        at_work, queued, done, failed = (int(number or 0) for number in counts.groups())
        self.assertEqual(at_work + queued + done + failed, targets, lines[foot - 1])
        self.assertLessEqual(at_work, jobs)
        # A frame that scrolls, or is not wiped, leaves another one behind.
        totals = [n for n, line in enumerate(lines) if re.match(rf"{targets} targets( |$)", line)]
        self.assertEqual(totals, [foot - 2])
        self.assertEqual(sum(" at work, " in line for line in lines), 1)
        headings = [n for n, line in enumerate(lines) if re.fullmatch(r" +read +dedup +left", line)]
        if at_work == 0:
            self.assertEqual(headings, [])
            return 0, 0
        self.assertEqual(len(headings), 1)
        self.assertGreaterEqual(headings[0], len(shown.gone), "the heading left the screen")
        active = lines[headings[0] + 1:foot - 2]
        summed = re.match(r"… and (\d+) more at work", active[-1])
        rest = int(summed.group(1)) if summed else 0
        each = active[:-1] if summed else active
        self.assertEqual(len(each) + rest, at_work)
        labels = [re.match(r"(web\d\d\.example|bad)", line) for line in each]
        self.assertTrue(all(labels), each)
        self.assertEqual(len({label.group() for label in labels}), len(each))
        return len(each), rest

    def test_a_hundred_targets_on_24_rows_of_80_columns(self):
        fleet = self.fleet(99, 2)
        jobs, rows, columns = 32, 24, 80
        # Slow enough that frames show each of them at work.
        text = self.on_terminal("dump", *fleet, "--durability", "none", "-j", jobs, "--read-limit", "1M",
                                "bad.invalid:/x", "--as", "bad", columns=columns, rows=rows,
                                expect=FAILED)
        shown = terminal.Shown(columns, rows)
        frames = [self.assert_one_frame(shown, 100, jobs) for _ in shown.take(text)
                  if not self.is_cleared(shown)]
        self.assertGreater(len(frames), 3)
        # The heading, the total, the counts and the cursor take four rows; of the others all are used.
        self.assertEqual(max(each + bool(rest) for each, rest in frames), rows - 4)
        self.assertEqual(max(each + rest for each, rest in frames), jobs)
        for each, rest in frames:
            self.assertTrue(rest == 0 or each + 1 == rows - 4, (each, rest))
        lines = shown.all_lines()
        self.assertEqual([line for line in lines if " at work" in line], [], "live lines stayed")
        for number in range(99):
            told = [line for line in lines if line.startswith(f"done  web{number:02}.")]
            self.assertEqual(len(told), 1, told)
        self.assertIn("100 targets: 99 done, 1 failed", lines)
        table = lines[lines.index("100 targets: 99 done, 1 failed") - 101:]
        self.assertEqual(sum(line.startswith("web") for line in table), 99)
        self.assertEqual(len(self.manifests()), 99)

    def is_cleared(self, shown):
        """The last frame takes the live lines away."""
        return not any(" at work" in line for line in shown.all_lines())

    def test_a_terminal_that_takes_nothing_holds_no_dump_up(self):
        fleet = self.fleet(14, 4)
        outer, inner = pty.openpty()
        self.addCleanup(os.close, outer)
        self.addCleanup(os.close, inner)
        termios.tcflow(inner, termios.TCOOFF)  # Ctrl-S
        process = subprocess.Popen(
            self.diskdump.command("dump", *fleet, "--durability", "none", json_events=False),
            stdin=inner, stdout=subprocess.PIPE, stderr=inner, cwd=self.folder,
            env={**self.diskdump.env, "TERM": "xterm"}, start_new_session=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        self.assertTrue(wait_until(lambda: len(self.manifests()) == 14, 60), self.manifests())
        self.assertIsNone(process.poll(), "what is to be said is not thrown away")
        termios.tcflow(inner, termios.TCOON)
        text = process.stdout.read().decode()
        self.assertEqual(process.wait(20), 0)
        self.assertIn("14 targets: 14 done", text)

    def test_sizes_change_while_it_runs(self):
        fleet = self.fleet(4, 24)
        sizes = [(20, 5), (200, 50), (3, 2), (80, 24)]

        def change(terminal, _):
            if sizes:
                columns, rows = sizes.pop(0)
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                time.sleep(0.3)

        text = self.on_terminal("dump", *fleet, "--durability", "none", during=change)
        self.assertIn("4 targets: 4 done, 0 failed", re.sub(r"\x1b\[[0-9;]*m", "", text))

    def test_colours_only_where_they_are_wanted(self):
        one, two = self.files(2)
        targets = [f"localhost:{one}", f"localhost:{two}"]
        self.assertIn("\x1b[32m", self.on_terminal("dump", *targets))
        plain = self.on_terminal("dump", *targets, env={"NO_COLOR": "1"})
        self.assertNotRegex(plain, r"\x1b\[[0-9;]*m")
        dumb = self.on_terminal("dump", *targets, env={"TERM": "dumb"})
        self.assertNotIn("\x1b[?", dumb)
        self.assertIn(": started", dumb)

    def test_the_other_verbs(self):
        [one] = self.files(1, blocks=100)
        self.on_terminal("dump", f"localhost:{one}", "--as", "one")
        for verb in (["gc"], ["verify"], ["reindex"], ["restore", "one", "-o", self.path("out")],
                     ["prune", "--keep-last", "1"]):
            with self.subTest(verb=verb[0]):
                text = self.on_terminal(*verb)
                self.assertNotIn("\x1b[2J", text)
                if "\x1b[?2026h" in text:
                    live = "".join(re.findall(r"\x1b\[\?2026h(.*?)\x1b\[\?2026l", text, re.S))
                    self.check_screen(live, 80)
        self.assert_same_content(one, self.path("out"))

    @staticmethod
    def agents_of(pids):
        """Those of these processes that are agents by now."""
        return [pid for pid in pids if b"\0serve\0" in read_proc(pid, "cmdline")]

    def test_an_import_shows_how_far_it_is(self):
        image = images.random_image(64 * images.MIB)
        agents = []
        steps = itertools.cycle((signal.SIGCONT, signal.SIGSTOP))

        # Each time that something was drawn it goes on or stands still, until its share was drawn: it
        # cannot be over before.
        def during(_, out):
            found = not agents
            agents.extend(self.agents_of(processes_of(self.folder)) if found else [])
            if b"%" in out:
                step = signal.SIGCONT
            else:
                step = signal.SIGSTOP if found else next(steps)
            for pid in agents:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, step)

        text = self.on_terminal("import", image, "--as", "web", "--durability", "none", during=during)
        live = "".join(re.findall(r"\x1b\[\?2026h(.*?)\x1b\[\?2026l", text, re.S))
        self.check_screen(live, 80)
        # The path is too long for 80 columns: its end is what tells.
        shares = re.findall(rf"{re.escape(os.path.basename(image)[-10:])} +[^ ]+ +([0-9]+)%", live)
        self.assertTrue(shares, live)
        self.assertEqual(sorted(shares, key=int), shares)
        self.assertEqual([os.path.basename(m) for m in self.manifests()], ["web-sda.manifest"])

    def test_an_import_tells_how_far_it_is(self):
        image = images.random_image(64 * images.MIB)
        command = self.diskdump.start("import", image, "--as", "web", "--durability", "none")
        agents = wait_until(lambda: self.agents_of(descendants(command.pid)), interval=0.001)
        self.assertTrue(agents)
        for pid in agents:
            os.kill(pid, signal.SIGSTOP)
        told = []
        while len(told) < 2:
            event = json.loads(command.stdout.readline())
            if event["event"] == "progress":
                told.append(event)
        for pid in agents:
            os.kill(pid, signal.SIGCONT)
        self.diskdump.finish(command, expect=0)
        each, whole = told
        self.assertEqual((each["verb"], each["target"], each["name"]), ("import", image, "web-sda"))
        self.assertIn(each["state"], ("connecting", "starting", "dumping"))
        self.assertEqual((whole["verb"], whole["target"], whole["targets"], whole["active"]), ("import", None, 1, 1))
        for event in told:
            self.assertLess(event["bytes_done"], 64 * images.MIB)
            self.assertIn(event["bytes_total"], (0, 64 * images.MIB))

    def test_without_a_terminal_a_line_each_and_the_table(self):
        one, two = self.files(2)
        done = self.diskdump.dump(f"localhost:{one}", f"localhost:{two}", json_events=False)
        text = done.stdout.decode()
        self.assertEqual(text.count(": started"), 2)
        self.assertEqual(text.count(".manifest: "), 2)
        self.assertRegex(text, r"image +sent +dedup +time +rate +new +saved")
        self.assertIn("2 targets: 2 done, 0 failed", text)
        self.assertNotIn("\x1b", done.text)


if __name__ == "__main__":
    cases.main()
