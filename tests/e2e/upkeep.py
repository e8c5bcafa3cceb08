"""What the crash and concurrency scenarios share: images with common parts, verbs that work on one
store, and what must be true of it afterwards."""

import hashlib
import os
import random
import signal
import subprocess

import cli
import images
import store_check
from fixture import Scenario

BLOCK = 16 << 10
BLOCKS_PER_IMAGE = 160


def make_image(path, seed):
    """Blocks of which half are shared by all images, some are zeros, and the last one is short."""
    pick = random.Random(seed)
    with open(path, "wb") as out:
        for _ in range(BLOCKS_PER_IMAGE):
            kind = pick.random()
            if kind < 0.1:
                out.write(bytes(BLOCK))
            elif kind < 0.6:
                out.write(images.bytes_of(pick.randrange(400), BLOCK))
            else:
                out.write(images.bytes_of((seed + 1) << 32 | pick.getrandbits(30), BLOCK))
        out.write(images.bytes_of(seed, 1000))
    return path


def sha256_of(path):
    with open(path, "rb") as content:
        return hashlib.sha256(content.read()).hexdigest()


class UpkeepScenario(Scenario):
    """Images, each dumped under names that tell which one it was."""

    images_count = 6
    # The one of dump is loose; other formats are made by init.
    format = "loose"

    def setUp(self):
        super().setUp()
        self.diskdump = cli.Diskdump(self)
        self.image_paths = []
        self.digests = []
        for number in range(self.images_count):
            path = make_image(self.path(f"image{number}"), number)
            self.image_paths.append(path)
            self.digests.append(sha256_of(path))

    def make_store(self):
        self.diskdump.run("init", "--format", self.format, "--block-size", BLOCK)

    def dump_words(self, number):
        return ["dump", "--block-size", BLOCK, f"localhost:{self.image_paths[number]}",
                "--as", f"image{number}"]

    def import_words(self, number):
        return ["import", "--block-size", BLOCK, self.image_paths[number],
                "--as", f"image{number}:/dev/imported"]

    def expected_of(self, manifest):
        """The digest of the image that a manifest is of: its name begins with the image's."""
        name = os.path.basename(manifest)
        assert name.startswith("image"), name
        return self.digests[int(name[len("image")])]

    def start_words(self, words):
        return subprocess.Popen(self.diskdump.command(*words), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.diskdump.env, cwd=self.folder, start_new_session=True)

    def restored_digest(self, manifest, store=None):
        command = self.diskdump.command("restore", manifest, json_events=False)
        if store:
            command[command.index(self.store)] = store
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=self.diskdump.env, cwd=self.folder, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, f"{manifest}: {done.stderr.decode()}")
        return hashlib.sha256(done.stdout).hexdigest()

    def assert_all_manifests_restore(self):
        for manifest in self.manifests():
            self.assertEqual(self.restored_digest(manifest), self.expected_of(manifest), manifest)

    def assert_rows_are_true(self):
        if store_check.is_pack(self.store):
            self.assertEqual(store_check.check_packs(self.store), [])
            return
        files = store_check.block_files(self.store)
        for name, size in store_check.index_rows(self.store).items():
            self.assertIn(name, files, "a row without its file")
            self.assertEqual(os.path.getsize(files[name]), size, f"the row of {name} is wrong")

    def kept_for_resume(self):
        """What interrupted dumps name: gc keeps it for --resume."""
        folder = os.path.join(self.store, ".blockstore", "interrupted")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        self.assertEqual([n for n in names if not n.endswith(".part")], [])
        kept = set()
        for name in names:
            kept |= store_check.needed_by(os.path.join(folder, name), self.store, whole=False)
        return kept

    def assert_store_is_clean(self):
        """After a gc with nobody else at work: no file that is not needed, nothing temporary."""
        self.assertEqual(store_check.check(self.store), [])
        named = set()
        for manifest in self.manifests():
            named |= store_check.needed_by(os.path.join(self.store, manifest), self.store)
        blockstore = os.path.join(self.store, ".blockstore")
        held = store_check.held_blocks(self.store)
        self.assertEqual(held - named - self.kept_for_resume(), set(),
                         "blocks that neither a manifest nor an interrupted dump names")
        packs = os.path.join(blockstore, "packs")
        if os.path.isdir(packs):
            self.assert_packs_are_used(packs)
        self.assertEqual(store_check.leftovers(self.store), [], "something temporary is left")

    def assert_packs_are_used(self, packs):
        """No pack is there for nothing, and less than half of all is free space."""
        rows = store_check.pack_rows(self.store).values()
        used = {f"{pack:06}.pack" for _, pack, _ in rows}
        self.assertEqual(set(os.listdir(packs)), used)
        total = sum(os.path.getsize(os.path.join(packs, name)) for name in used)
        needed = sum(size + 64 for size, _, _ in rows) + 64 * len(used)
        self.assertLessEqual(needed, total)
        self.assertGreater(needed, total // 2, "free space was not given back")


SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
