"""The server is killed at random moments of everything that changes a store, and of a reindex whose index is
missing or no database. After each: every manifest that exists restores bit for bit (once a reindex has run to
its end), every row of the index is true, the next dump and gc succeed, and nothing temporary stays."""

import os
import random
import subprocess
import time

import store_check
import upkeep
from fixture import LONG, SANITIZED, TRIMMED, cases

KILLS = {"loose": 20 if SANITIZED or TRIMMED else 220,
         "pack": 20 if SANITIZED or TRIMMED else 220 if LONG else 80}
KILLS_OF_REINDEX = 8 if SANITIZED or TRIMMED else 60 if LONG else 30
SEED = int(os.environ.get("DISKDUMP_TEST_SEED", random.SystemRandom().randrange(1 << 32)))


class Killed(upkeep.UpkeepScenario):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        print(f"seed {SEED} (DISKDUMP_TEST_SEED repeats it)", flush=True)
        # How long each verb takes when it is left alone, for moments that lie within its run.
        self.seconds = {}

    def words_of(self, verb):
        number = self.random.randrange(self.images_count)
        return {
            "dump": lambda: self.dump_words(number),
            "import": lambda: self.import_words(number),
            "gc": lambda: ["gc"],
            "prune": lambda: ["prune", "--keep-last", 1],
            "verify": lambda: ["verify"],
            "reindex": lambda: ["reindex"],
        }[verb]()

    def kill_at_some_moment(self, words):
        """Returns whether the kill came before the end."""
        verb = words[0]
        start = time.monotonic()
        process = self.start_words(words)
        moment = self.random.random() * self.seconds.get(verb, 0.2) * 1.1
        try:
            stdout, stderr = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(self.random.choice(upkeep.SIGNALS))
            _, stderr = process.communicate(timeout=60)
            self.assertNotIn(b"Sanitizer", stderr)
            return True
        taken = time.monotonic() - start
        self.seconds[verb] = taken
        self.assertEqual(process.returncode, 0, f"{words} failed when it was left alone:\n"
                         f"{stdout.decode(errors='replace')}{stderr.decode(errors='replace')}")
        return False

    def test_at_random_moments(self):
        self.make_store()
        for number in range(3):
            start = time.monotonic()
            self.diskdump.run(*self.dump_words(number))
            self.seconds["dump"] = time.monotonic() - start
        # More of what writes, and of what removes, than of what mostly reads.
        verbs = ["dump"] * 4 + ["import"] * 2 + ["gc"] * 3 + ["prune"] * 2 + ["verify", "reindex"]
        killed, number = 0, 0
        while killed < KILLS[self.format]:
            number += 1
            words = self.words_of(self.random.choice(verbs))
            with self.subTest(number=number, words=words, seed=SEED):
                killed += self.kill_at_some_moment(words)
                self.assert_rows_are_true()
                self.assert_all_manifests_restore()
                if number % 3 == 0:
                    # Something for the next gc to take: a manifest that is not needed any more.
                    manifests = self.manifests()
                    if len(manifests) > 3:
                        os.unlink(os.path.join(self.store, self.random.choice(manifests)))
                if number % 5 == 0:
                    self.diskdump.run(*self.dump_words(self.random.randrange(self.images_count)))
                    self.diskdump.run("gc")
                    self.assert_all_manifests_restore()
                    self.assert_store_is_clean()
        print(f"killed {killed} times in {number} runs", flush=True)
        self.diskdump.run("verify")
        self.diskdump.run("gc")
        self.assert_store_is_clean()

    def lose_index(self, damaged):
        path = store_check.index_path(self.store)
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.unlink(path + suffix)
        if damaged:
            with open(path, "wb") as out:
                out.write(b"this is no database" * 1000)

    def test_reindex_whose_index_is_lost(self):
        self.make_store()
        for number in range(3):
            self.diskdump.run(*self.dump_words(number))
        killed, number = 0, 0
        while killed < KILLS_OF_REINDEX:
            number += 1
            damaged = self.random.random() < 0.3
            words = ["reindex", *self.random.choice([[], ["--quick"]])]
            # Who collects, and who dumps, on what the index has by then: neither may take what the rest
            # of it would name. On one that is no database they only refuse.
            then = [] if damaged else self.random.choice(
                [[], [["gc"]], [self.dump_words(self.random.randrange(self.images_count))],
                 [["prune", "--keep-last", 1], ["verify", "--no-repair"]]])
            with self.subTest(number=number, words=words, damaged=damaged, then=then, seed=SEED):
                self.lose_index(damaged)
                was_killed = self.kill_at_some_moment(words)
                killed += was_killed
                if not damaged:
                    self.assert_rows_are_true()
                for following in then:
                    done = self.diskdump.run(*following, expect=None)
                    # Half an index knows half of the lists that manifests name, and the index may be missing
                    # altogether: all but a dump may refuse then.
                    refusing = following[0] == "verify" or self.format == "pack" and following[0] != "dump"
                    self.assertIn(done.status, (0, 1) if refusing else (0,), done.text)
                if was_killed:
                    self.diskdump.run("reindex")
                self.assert_rows_are_true()
                self.assert_all_manifests_restore()
                if len(self.manifests()) > 4:
                    os.unlink(os.path.join(self.store, self.random.choice(self.manifests())))
                if number % 2 == 0:
                    self.diskdump.run(*self.dump_words(self.random.randrange(self.images_count)))
                self.diskdump.run("gc")
                self.assert_all_manifests_restore()
                self.assert_store_is_clean()
        print(f"killed {killed} reindexes in {number} runs", flush=True)
        self.diskdump.run("verify")


class KilledPacks(Killed):
    format = "pack"


if __name__ == "__main__":
    cases.main()
