"""Several dumps, imports, collections, verifications, reindexes and prunes at once on one store, while
manifests are being removed: nothing is lost, and each of them gets to its end."""

import itertools
import os
import random
import signal
import subprocess
import threading
import time

import upkeep
from fixture import LONG, SANITIZED, TRIMMED, cases

SECONDS = {"loose": 15 if SANITIZED or TRIMMED else 60,
           "pack": 15 if SANITIZED or TRIMMED else 60 if LONG else 20}
SEED = int(os.environ.get("DISKDUMP_TEST_SEED", random.SystemRandom().randrange(1 << 32)))


# What says that a gc without --wait met another one, or a prune.
BUSY = b"another gc, prune or reindex is running"
CHECKS = [["verify"], ["reindex"], ["verify", "--sample", "30%"], ["reindex", "--quick"],
          ["verify", "--no-repair"]]
# Each of these must have ended well so often at least, on whatever machine: a run that was turned away, or
# that a failure of another one cut short, does not count.
RUNS_MIN = {"dump": 2, "import": 2, "gc": 1, "gc --wait": 1, "prune": 1, "restore": 2,
            **{" ".join(words): 1 for words in CHECKS}}


class Together(upkeep.UpkeepScenario):
    def worker(self, seed, choose, end, runs, failures):
        pick = random.Random(seed)
        while time.monotonic() < end and not failures:
            words = choose(pick)
            process = self.start_words(words)
            if words[0] in ("dump", "import"):
                # A slow one: others collect and prune between what it was told and its manifest.
                time.sleep(pick.random() * 0.15)
                process.send_signal(signal.SIGSTOP)
                time.sleep(pick.random() * 0.5)
                process.send_signal(signal.SIGCONT)
            stdout, stderr = process.communicate(timeout=120)
            if words == ["gc"] and process.returncode == 1 and BUSY in stderr:
                runs.append("gc turned away")
                continue
            if process.returncode != 0:
                failures.append(f"{words} ended with {process.returncode}:\n"
                                f"{stdout.decode(errors='replace')[-3000:]}"
                                f"{stderr.decode(errors='replace')[-3000:]}")
                return
            runs.append(words[0] if words[0] in ("dump", "import", "prune") else " ".join(words))

    def remover(self, seed, end):
        """Takes every manifest of one image away: its blocks are on the disk, and only the dump that
        is told so by now will need them."""
        pick = random.Random(seed)
        while time.monotonic() < end:
            time.sleep(pick.random() * 0.3)
            image = f"image{pick.randrange(self.images_count)}"
            for manifest in self.manifests():
                if os.path.basename(manifest).startswith(image):
                    try:
                        os.unlink(os.path.join(self.store, manifest))
                    except FileNotFoundError:
                        pass  # pruned at this moment

    @staticmethod
    def identity(path):
        """Which file has the name; None where there is none."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def reader(self, seed, end, runs, failures):
        """Restores whatever there is; a manifest may go before it is opened."""
        pick = random.Random(seed)
        while time.monotonic() < end and not failures:
            manifests = self.manifests()
            if not manifests:
                time.sleep(0.05)
                continue
            manifest = pick.choice(manifests)
            path = os.path.join(self.store, manifest)
            before = self.identity(path)
            done = subprocess.run(self.diskdump.command("restore", manifest, json_events=False),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env=self.diskdump.env, cwd=self.folder, check=False, timeout=60)
            text = done.stderr.decode(errors="replace")
            if done.returncode == 0:
                if upkeep.hashlib.sha256(done.stdout).hexdigest() != self.expected_of(manifest):
                    failures.append(f"{manifest} restored other bytes")
            # Its name may be another's by now.
            elif "no such manifest" not in text or before and self.identity(path) == before:
                failures.append(f"restore {manifest}: {text}")
            else:
                continue  # the manifest went before it was opened
            runs.append("restore")

    def test_a_minute_of_everything_at_once(self):
        print(f"seed {SEED} (DISKDUMP_TEST_SEED repeats it)", flush=True)
        end = time.monotonic() + SECONDS[self.format]
        runs, failures = [], []
        dump = lambda pick: self.dump_words(pick.randrange(self.images_count))
        importing = lambda pick: self.import_words(pick.randrange(self.images_count))
        collect = lambda pick: pick.choice([["gc"], ["gc", "--wait"]])
        prune = lambda pick: ["prune", "--wait", "--keep-last", pick.choice([1, 2])]
        # In turn, so that each of them comes.
        in_turn = itertools.cycle(CHECKS)
        check = lambda pick: next(in_turn)
        self.make_store()
        self.diskdump.run(*self.dump_words(0))
        threads = [threading.Thread(target=self.worker, args=(SEED + n, choose, end, runs, failures))
                   for n, choose in enumerate([dump, dump, importing, collect, prune, check])]
        threads.append(threading.Thread(target=self.remover, args=(SEED + 90, end)))
        threads.append(threading.Thread(target=self.reader, args=(SEED + 91, end, runs, failures)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print({verb: runs.count(verb) for verb in sorted(set(runs))}, flush=True)
        self.assertEqual(failures, [])
        self.assert_all_manifests_restore()
        self.diskdump.run("verify")
        self.diskdump.run("gc")
        self.assert_all_manifests_restore()
        self.assert_store_is_clean()
        too_few = {verb: runs.count(verb) for verb, least in RUNS_MIN.items() if runs.count(verb) < least}
        self.assertEqual(too_few, {}, f"these must have run {RUNS_MIN} times")


class TogetherInPacks(Together):
    format = "pack"


if __name__ == "__main__":
    cases.main()
