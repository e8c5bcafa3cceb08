"""What the scenarios of the store's verbs share: small images by number, events by kind."""

import hashlib
import os

import images
from cli import Diskdump
from fixture import HERE, Scenario

FAILED, USAGE, INTERRUPTED = 1, 2, 130
BLOCK = images.BLOCK
GOLDEN = os.path.join(HERE, "../unit/store/golden")


def tree(folder):
    """Every file below it with the digest of its content, but for SQLite's bookkeeping."""
    found = {}
    for where, folders, names in os.walk(folder):
        for name in names:
            if name.endswith(("-wal", "-shm")):
                continue
            path = os.path.join(where, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = hashlib.file_digest(file, "sha256").hexdigest()
        for name in folders:
            found[os.path.relpath(os.path.join(where, name), folder)] = "folder"
    return found


class Verbs(Scenario):
    def setUp(self):
        super().setUp()
        self.diskdump = Diskdump(self)

    def run_verb(self, *arguments, **options):
        return self.diskdump.run(*arguments, **options)

    def event(self, kind, *arguments, **options):
        """The one event of this kind."""
        found = self.events(kind, *arguments, **options)
        self.assertEqual(len(found), 1, found)
        return found[0]

    def events(self, kind, *arguments, **options):
        return [e for e in self.run_verb(*arguments, **options).events if e["event"] == kind]

    def text(self, *arguments, **options):
        return self.run_verb(*arguments, json_events=False, **options).stdout.decode()

    def image(self, *blocks, tail=b"", name="image"):
        """An image of numbered blocks; 0 is a block of zeros."""
        content = b"".join(images.bytes_of(n, BLOCK) if n else bytes(BLOCK) for n in blocks) + tail
        return images.write(self.path(name), content)

    def take(self, *blocks, source="web:/dev/sda", date=None, **options):
        """Imports such an image; the path of its manifest."""
        arguments = ["--date", date] if date else []
        # No power is cut here, and a barrier waits for the disk.
        return self.run_verb("import", self.image(*blocks, **options), "--as", source,
                             "--durability", "none", *arguments).target["manifest"]
