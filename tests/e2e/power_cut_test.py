"""A store on a real ext4 whose disk stops at random moments: what the disk holds at that moment is cloned
at once (a reflink on XFS, which lets no write in between) and mounted again."""

import contextlib
import os
import random
import time

import upkeep
from fixture import IS_ROOT, LONG, SANITIZED, TRIMMED, cases, mount, run, tool, unmount

CUTS_WITHOUT_BARRIER = 6
CUTS = {"loose": 6 if SANITIZED or TRIMMED else 40,
        "pack": 6 if SANITIZED or TRIMMED else 40 if LONG else 15}
BELOW_BYTES = 1 << 30
DISK_BYTES = 96 << 20
SEED = int(os.environ.get("DISKDUMP_TEST_SEED", random.SystemRandom().randrange(1 << 32)))


class PowerCut(upkeep.UpkeepScenario):
    def setUp(self):
        super().setUp()
        if not IS_ROOT:
            self.skipTest("devices and mounts take root")
        print(f"seed {SEED} (DISKDUMP_TEST_SEED repeats it)", flush=True)
        self.random = random.Random(SEED)
        # XFS below, for its clones; the disk of the store is a file in it.
        below = self.path("below")
        with open(below, "wb") as out:
            out.truncate(BELOW_BYTES)
        made = run(tool("mkfs.xfs"), "-q", "-m", "reflink=1", below, check=False)
        if made.returncode != 0:
            self.skipTest(f"no XFS with reflinks: {made.stdout.decode().strip()}")
        self.disks = self.path("disks")
        os.mkdir(self.disks)
        mount(self.loop(below), self.disks, "xfs")
        self.addCleanup(unmount, self.disks)
        self.disk = os.path.join(self.disks, "disk")
        with open(self.disk, "wb") as out:
            out.truncate(DISK_BYTES)
        run(tool("mkfs.ext4"), "-q", "-F", self.disk)
        mount(self.loop(self.disk), self.store, "ext4")
        self.addCleanup(unmount, self.store)

    def loop(self, image):
        done = run(tool("losetup"), "--find", "--show", image, check=False)
        if done.returncode != 0:
            self.skipTest(f"no loop device: {done.stdout.decode().strip()}")
        device = done.stdout.decode().strip()
        self.addCleanup(run, tool("losetup"), "--detach", device, check=False)
        return device

    def cut(self):
        """A copy of the disk as it is at this moment."""
        copy = os.path.join(self.disks, "copy")
        run(tool("cp"), "--reflink=always", "--remove-destination", self.disk, copy)
        return copy

    def words(self):
        number = self.random.randrange(self.images_count)
        return self.random.choice([self.dump_words(number), self.dump_words(number),
                                   self.import_words(number), ["gc"],
                                   ["prune", "--keep-last", 1]])

    @contextlib.contextmanager
    def started_again(self, copy):
        """Mounts the copy, as a machine does that starts again, in place of the store."""
        loop = self.loop(copy)
        after = self.path("after")
        os.makedirs(after, exist_ok=True)
        mount(loop, after, "ext4")
        before, self.store = self.store, after
        try:
            yield
        finally:
            self.store = before
            unmount(after)
            run(tool("losetup"), "--detach", loop, check=False)

    def check_copy(self, copy):
        with self.started_again(copy):
            self.diskdump.run("list")
            self.assert_rows_are_true()
            self.assert_all_manifests_restore()
            found = len(self.manifests())
            self.diskdump.run("verify")
            self.diskdump.run(*self.dump_words(self.random.randrange(self.images_count)))
            self.diskdump.run("gc")
            self.assert_all_manifests_restore()
            self.assert_store_is_clean()
            return found

    def test_at_random_moments(self):
        self.make_store()
        self.diskdump.run(*self.dump_words(0))
        manifests = 0
        for number in range(CUTS[self.format]):
            with self.subTest(number=number, seed=SEED):
                process = self.start_words(self.words())
                try:
                    time.sleep(self.random.random() * 0.35)
                    copy = self.cut()
                finally:
                    process.communicate(timeout=60)
                manifests += self.check_copy(copy)
                if len(self.manifests()) > 4:
                    os.unlink(os.path.join(self.store, self.random.choice(self.manifests())))
        print(f"{CUTS[self.format]} cuts, {manifests} manifests restored", flush=True)
        self.assertGreater(manifests, 0)

    def test_without_the_barrier_the_same_cuts_lose_data(self):
        # Otherwise the case above proves nothing.
        self.make_store()
        lost = 0
        for number in range(CUTS_WITHOUT_BARRIER):
            self.diskdump.run(*self.dump_words(number % self.images_count), "--durability", "none")
            # The manifest's own sync and the index's leave the blocks to the kernel's leisure.
            with self.started_again(self.cut()):
                for manifest in self.manifests():
                    done = self.diskdump.run("restore", manifest, "-o", self.path("out"), "--force",
                                             expect=None)
                    lost += done.status != 0
        self.assertGreater(lost, 0)


class PowerCutPacks(PowerCut):
    format = "pack"


if __name__ == "__main__":
    cases.main()
