"""The server is killed at random moments of everything that changes a store. After each: every
manifest that exists restores bit for bit, every row of the index is true, the next dump and gc succeed,
and nothing temporary stays."""

import os
import random
import subprocess
import time

import upkeep
from fixture import LONG, SANITIZED, TRIMMED, cases

KILLS = {"loose": 20 if SANITIZED or TRIMMED else 220,
         "pack": 20 if SANITIZED or TRIMMED else 220 if LONG else 80}
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


class KilledPacks(Killed):
    format = "pack"


if __name__ == "__main__":
    cases.main()
