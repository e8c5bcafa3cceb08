"""What keeps a store's data safe, each with the test that fails without it. protections.py takes one
after the other out and shows that it does; tidy.py looks that none of the texts has gone stale.

An entry is a name, what is protected, a file, the text that stands there exactly once, the text
without the protection, and the case. `also` are more such texts, where a protection is doubled and
one half alone is not missed.

Long because: it is one table.
"""

import dataclasses
import glob
import os
import re


@dataclasses.dataclass(frozen=True)
class Unit:
    """A case of a doctest program."""
    module: str
    suite: str
    case: str

    def __str__(self):
        return f"tests/unit/{self.module}: {self.suite}: {self.case}"

    @property
    def target(self):
        return f"tests/unit/{self.module}/{self.module}_test"

    def command(self, tree, build):
        # A comma would part two names.
        return [os.path.join(build, self.target), "-ts=" + self.suite,
                "-tc=" + self.case.replace(",", "?")]

    def is_in(self, root):
        paths = glob.glob(os.path.join(root, f"tests/unit/{self.module}/*.cpp"))
        return any(suite.startswith(self.suite + '"') and f'"{self.case}"' in suite
                   for path in paths
                   for suite in re.split(r'TEST_SUITE(?:_BEGIN)?\("', text_of(path))[1:])


@dataclasses.dataclass(frozen=True)
class EndToEnd:
    """A case of a script in tests/e2e."""
    script: str
    case: str  # Class.method
    target = "src/cli/diskdump"

    def __str__(self):
        return f"tests/e2e/{self.script} {self.case}"

    def command(self, tree, build):
        return ["python3", os.path.join(tree, "tests/e2e", self.script), self.case]

    def is_in(self, root):
        text = text_of(os.path.join(root, "tests/e2e", self.script))
        name, method = self.case.split(".")
        return f"class {name}(" in text and f"def {method}(" in text


@dataclasses.dataclass(frozen=True)
class Protection:
    name: str
    what: str
    path: str
    old: str
    new: str
    test: object
    also: tuple = ()  # (path, old, new)
    needs_root: bool = False  # the case mounts something

    @property
    def changes(self):
        return ((self.path, self.old, self.new), *self.also)


def text_of(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def mutated(root, protection):
    """{path: its text without the protection}. REQUIRES: the entry is not stale."""
    texts = {}
    for path, old, new in protection.changes:
        text = texts.get(path) or text_of(os.path.join(root, path))
        texts[path] = text.replace(old, new)
    return texts


def stale(root, protections):
    """What is wrong with the entries as the tree is now, a line each."""
    wrong = []
    names = [p.name for p in protections]
    for p in protections:
        where = f"tests/protection_list.py: {p.name}"
        if names.count(p.name) > 1:
            wrong.append(f"{where}: there are two of this name")
        for path, old, new in p.changes:
            count = text_of(os.path.join(root, path)).count(old)
            if count != 1:
                wrong.append(f"{where}: its text stands {count} times in {path}, not once")
            if old == new:
                wrong.append(f"{where}: it changes nothing")
        if not p.test.is_in(root):
            wrong.append(f"{where}: there is no {p.test}")
    return wrong


def store(suite, case):
    return Unit("store", suite, case)


CUT_DUMP = store("power_cut", "at every write of a dump, what is there afterwards restores and the "
                 "next dump succeeds")
CUT_GC = store("gc", "the power is cut at every write of a collection")
CUT_PRUNE = store("power_cut", "at every write of a prune, every manifest that is left restores")
CUT_LOOSE = store("loose_store_faults",
                  "the power may go at any call: every row stays true and the next dump succeeds")
TOLD_HELD = store("gc", "a block that a running dump was told is held stays until its lease has ended")
EACH_DAMAGE = store("verify", "each kind of damage is found and named with what it hits, and the next "
                    "dump heals it")
BAD_MANIFEST = store("manifest", "damage is reported with file and line")

GARBAGE = [
    Protection(
        "gc-leases", "gc deletes nothing that a running dump may have been told is held",
        "src/store/gc.cpp", "    if (by.empty()) {", "    if (true) {", TOLD_HELD),
    Protection(
        "gc-marks-after-wait", "manifests of dumps that gc waited for count",
        "src/store/gc.cpp", "    if (!mark()) return false;", "",
        store("gc", "with wait it ends when the dumps have ended")),
    Protection(
        "gc-needed", "a condemned block that a manifest names by now is given back",
        "src/store/index_condemned.cpp", "  if (!actions_.needed(block.id)) {",
        "  if (true) {", TOLD_HELD),
    Protection(
        "gc-interrupted-gc", "gc ends what a gc that was cut off began, with nothing new to condemn",
        "src/store/gc.cpp", "!monitor_.stop && !sweep_what_is_free(all)",
        "!monitor_.stop && report_.condemned.blocks > 0 && !sweep_what_is_free(all)", CUT_GC),
    Protection(
        "gc-two-collections", "what several collections condemned is deleted, not the latest alone",
        "src/store/gc.cpp", "    auto const done = parts_.index->sweep(c.number, actions);",
        "    if (c.number != free.back().number) continue;\n"
        "    auto const done = parts_.index->sweep(c.number, actions);",
        store("gc", "what several collections condemned goes when the last lease has ended")),
    Protection(
        "gc-lost-collection", "blocks of a collection that is not known wait for leases like others",
        "src/store/index_condemned.cpp", "FROM condemned c LEFT JOIN collections k",
        "FROM condemned c JOIN collections k",
        store("gc", "a collection of which nothing is known waits for all leases, and then goes")),
    Protection(
        "gc-lost-collection-leases", "and it gets the leases that are held now",
        "src/store/index_condemned.cpp",
        '"REPLACE INTO collections (leases, number) VALUES (?1, ?2)"',
        '"UPDATE collections SET leases = ?1 WHERE number = ?2"',
        store("gc", "a collection of which nothing is known waits for all leases, and then goes")),
    Protection(
        "gc-interrupted-dumps", "what an interrupted dump can be continued from is not collected",
        "src/store/manifest_marks.cpp",
        '    found.insert(".blockstore/" + interrupted_file(name));', "    (void)name;",
        store("interrupted", "gc keeps what an interrupted dump has in the store until it is too old")),
    Protection(
        "gc-living-copy", "a manifest that a living writer copies to its place is not taken for a "
        "dead one's",
        "src/store/interrupted.cpp", " || scratch_owner_lives(blockstore, std::string(owner))", "",
        store("interrupted", "what a killed writer left beside a manifest's place goes with gc, "
              "nothing else does")),
    Protection(
        "gc-other-hidden-files", "hidden files of others in an image's folder stay",
        "src/store/interrupted.cpp", "!is_unique_stem(owner) || ", "",
        store("interrupted", "what a killed writer left beside a manifest's place goes with gc, "
              "nothing else does")),
    Protection(
        "gc-moved-manifests", "manifests that people moved elsewhere below the folder count",
        "src/store/manifest_marks.cpp", '  everywhere.below("", found);', "",
        store("gc", "a manifest that a person moved elsewhere below the folder protects its blocks")),
    Protection(
        "gc-unreadable-manifest", "a manifest that cannot be read stops gc",
        "src/store/manifest_marks.cpp",
        "if (is_whole || failure.kind() != severity::corruption) throw;",
        "if (failure.kind() != severity::corruption) throw;",
        store("gc", "a manifest that cannot be read stops it before anything is condemned")),
    Protection(
        "gc-half-read", "a gc that is stopped decides nothing by manifests that it has not read",
        "src/store/gc.cpp", "  return !report_.stopped;", "  return true;",
        store("gc", "told to stop, it decides nothing by half-read manifests"),
        also=(("src/store/unneeded.cpp", "    if (monitor.stop) return;\n", ""),
              ("src/store/unneeded.cpp", "    if (monitor_.stop) return;\n    steps_", "    steps_"),
              ("src/store/unneeded.cpp", "  if (!monitor.stop) search", "  search"))),
    Protection(
        "gc-runs", "a row that a manifest names is not condemned with those on both sides of it",
        "src/store/unneeded.cpp", "      goes_on = false;\n      continue;", "      continue;",
        store("gc", "of more rows than a step takes, the ones that manifests name stay")),
    Protection(
        "gc-alone", "one collects at a time",
        "src/store/gc.cpp", "if (auto const lock = lock_file::try_for(path)) return",
        "if (auto const lock = lock_file::try_for(path); true) return",
        store("gc", "one collects at a time")),
    Protection(
        "gc-condemned-is-missing", "a dump is told that a condemned block is missing, and sends it",
        "src/store/index.cpp", "if (!found && options_.read_only && reader->condemned) {",
        "if (!found && reader->condemned) {",
        store("gc", "a dump that starts after the condemnation is not waited for, and keeps what it "
              "puts")),
    Protection(
        "gc-absolve", "who puts a condemned block takes its mark off before he looks at the file",
        "src/store/index_condemned.cpp", "    if (!there) return false;", "    return false;",
        store("gc", "a dump that starts after the condemnation is not waited for, and keeps what it "
              "puts")),
    Protection(
        "gc-absolve-row", "the mark that is taken off leaves the row, for those who were told of it",
        "src/store/index_condemned.cpp", "    has_row = row && exists(*row);", "    has_row = false;",
        store("gc", "a block that a dump was told is held keeps its row though another one put it and "
              "died")),
    Protection(
        "gc-put-again", "a block that got a row after it was condemned is not deleted with its mark",
        "src/store/index_condemned.cpp", " == collection_ && select_.number(6) == 0;",
        " == collection_;",
        store("gc", "a condemned block to which somebody gave a row who knows no marks "
              "stays")),
    Protection(
        "gc-strays-by-row", "a file that got its row since it was seen without one is no stray",
        "src/store/index_condemned.cpp",
        '                    " WHERE NOT EXISTS (SELECT 1 FROM blocks WHERE hash = ?1) RETURNING 1");',
        '                    " WHERE ?1 = ?1 RETURNING 1");',
        store("gc", "a file that got its row since it was seen without one is not condemned as a "
              "stray")),
    Protection(
        "lease-of-the-dead", "the lease of a process that was killed keeps nothing",
        "src/store/lease.cpp", "    if (lock_file::take_stale(path)) continue;  // and removed it", "",
        store("lease", "the kernel releases the lease of a process that is killed, and its file is "
              "removed")),
]

LOOSE = [
    Protection(
        "loose-sync", "rows come after the sync of their block files",
        "src/store/loose_store.cpp",
        '      writing([&] { parts_.files->sync(sync_scope::file_system, ""); });\n    } else {',
        "    } else {", CUT_LOOSE),
    Protection(
        "loose-row-before-file", "a row goes before its file is removed",
        "src/store/loose_store.cpp", "      parts_.index->remove(step);\n      writing([&] {",
        "      writing([&] {",
        store("loose_store_faults", "rows come after the sync when blocks are added, and go before "
              "files are removed"),
        also=(("src/store/loose_store.cpp",
               "for (auto const& id : step) (void)parts_.files->remove(parts_.layout.block(id.hex()));\n"
               "      });",
               "for (auto const& id : step) (void)parts_.files->remove(parts_.layout.block(id.hex()));\n"
               "      });\n      parts_.index->remove(step);"),)),
    Protection(
        "loose-found-block", "a block that was found may vanish before the barrier and is put again",
        "src/store/loose_store.cpp", "        secure_found_blocks(blocks);", "",
        store("loose_store_faults", "a found block that vanishes before the barrier comes back from our "
              "own copy")),
    Protection(
        "loose-torn-file", "a file that nobody knows is looked into before it is taken for the block",
        "src/store/loose_store.cpp", "return condition.good() ? found::good : found::bad;",
        "return found::good;",
        store("loose_store_faults", "an empty or torn file under a block's name is set aside and the "
              "block put")),
    Protection(
        "loose-repair-again", "who is about to set a bad file aside looks again under the lock",
        "src/store/loose_store.cpp", "  if (examine(id) != found::bad) return false;", "",
        store("loose_store_faults", "a file that another process has repaired meanwhile is not set "
              "aside")),
    Protection(
        "loose-discard", "files of an epoch whose sync failed go, for the cache shows them whole",
        "src/store/loose_store.cpp", "    if (result.lost) discard(blocks);", "",
        store("loose_store_faults", "when the sync fails no block of the epoch counts, now or after "
              "reopening")),
    Protection(
        "failed-sync-is-final", "after a sync that failed nothing is put or made durable any more",
        "src/store/epochs.hpp", "      lost_ = result.failure;", "",
        store("loose_store_faults", "when the sync fails no block of the epoch counts, now or after "
              "reopening")),
    Protection(
        "failed-sync-of-another", "who waited for a barrier that failed hears of it",
        "src/store/epochs.hpp", "    if (!mine->done && lost_) throw *lost_;", "",
        store("loose_store_faults", "who waits for a barrier that loses its blocks is not told that its "
              "own are durable"),
        also=(("src/store/epochs.hpp", "      lost_ = result.failure;\n      current_.clear();\n"
               "      current_bytes_ = 0;", "      lost_ = result.failure;"),)),
    Protection(
        "unsynced-note", "what a dump without durability left is synced before a later one relies on it",
        "src/store/unsynced.cpp",
        '  if (find_unsynced(files, layout) == unsynced::none) return;\n  writing([&] { files.sync(',
        '  return;\n  writing([&] { files.sync(',
        store("power_cut", "what a dump without durability brought is durable once a later one names "
              "it")),
]

PACKS = [
    Protection(
        "pack-sync", "rows come after the sync of their packs",
        "src/store/pack_writer.cpp", "  for (auto const& pack : packs) make_durable(*pack);", "",
        CUT_DUMP),
    Protection(
        "pack-names", "rows come after the sync of their packs' names",
        "src/store/pack_writer.cpp", "  if (!names) return;", "  return;", CUT_DUMP),
    Protection(
        "pack-dirty", "what is added to a pack while it is synced is synced by the next barrier",
        "src/store/pack_writer.cpp", "  pack->dirty = true;\n  writing_ = false;", "  writing_ = false;",
        store("pack_store", "what is added to a pack while it is synced is synced by the next barrier"),
        also=(("src/store/pack_writer.cpp", "  writing_ = true;\n",
               "  writing_ = true;\n  pack->dirty = true;\n"),)),
    Protection(
        "pack-dirty-again", "and what is written out within the sync itself",
        "src/store/pack_writer.cpp", "    writing([&] { pack.file->sync(); });",
        "    writing([&] { pack.file->sync(); });\n    pack.dirty = false;",
        store("pack_store", "what is written within a sync of its pack is synced by the next barrier")),
    Protection(
        "pack-of-its-own", "two writers never share a pack",
        "src/store/pack_writer.cpp",
        "    if (++next_number_ == std::numeric_limits<std::uint32_t>::max()) {",
        "    if (!files_.remove(pack_path(layout_, next_number_))) {",
        store("pack_store", "a number that another writer took meanwhile is left to it")),
    Protection(
        "pack-header-first", "a pack has its header before it has its name",
        "src/store/pack_writer.cpp",
        "  file->append(encode_pack_header({scratch_.unique_name()}));\n", "",
        store("pack_store", "a pack has its header before it has its name"),
        also=(("src/store/pack_writer.cpp", "  pack_ = std::make_shared<open_pack>();",
               "  file->append(encode_pack_header({scratch_.unique_name()}));\n"
               "  pack_ = std::make_shared<open_pack>();"),)),
    Protection(
        "pack-entry-checksum", "an entry whose bytes have changed is none when packs are scanned",
        "src/store/pack_scan.cpp",
        " &&\n          checksum64(bytes->subspan(limits::pack_entry_header_bytes)) == entry->checksum) {",
        ") {",
        store("pack_format", "a scan finds what stands behind damage, wherever it is")),
    Protection(
        "pack-torn-tail", "an entry that ends with the pack, within itself, is none (its checksum tells "
        "as well)",
        "src/store/pack_scan.cpp",
        " && bytes->size() == whole_bytes &&\n"
        "          checksum64(bytes->subspan(limits::pack_entry_header_bytes)) == entry->checksum) {",
        ") {",
        store("pack_store", "an index that is gone is made again from what is whole in the packs")),
    Protection(
        "pack-header-checksum", "a bit that changed in a header is found",
        "src/store/pack_format.cpp",
        "  return load_le<std::uint64_t>(header.data() + checksum_at) ==\n"
        "         checksum64(header.first(checksum_at));", "  return header.size() >= checksum_at;",
        store("pack_format", "headers come back as they were, and a changed bit anywhere is found")),
    Protection(
        "pack-fetch-id", "a block is not taken from where another one stands",
        "src/store/pack_store.cpp", "if (!entry || entry->id != block.id ||", "if (!entry ||",
        store("pack_store", "a block is not taken from where another one of its length stands")),
    Protection(
        "pack-of-the-living", "gc leaves the packs of a writer that lives alone",
        "src/store/pack_compaction.cpp", "      if (at->second) continue;", "",
        store("pack_gc", "the packs of a writer that lives are left alone, even without a row")),
    Protection(
        "pack-copy-sync", "rows lead to a copy only once it is durable",
        "src/store/pack_compaction.cpp", "  writer_->flush();", "  writer_->write_out();", CUT_GC),
    Protection(
        "pack-old-until-moved", "a pack goes only when no row leads to it",
        "src/store/pack_compaction.cpp",
        "    for (auto const& use : store_.index.packs_in_use()) packs.erase(use.pack);", "",
        store("pack_gc", "a pack that nothing needs goes, one with few blocks is copied and then goes")),
    Protection(
        "pack-adopted", "a pack that a reindex gave rows meanwhile stays",
        "src/store/index_packs.cpp", "  if (writer_->query_number(sql_adoptions) != since) return false;",
        "", store("pack_removal", "a pack stays that a reindex gives rows before it is removed")),
    Protection(
        "pack-unknown-to-index", "a pack with blocks that manifests name and the index lacks stays",
        "src/store/pack_compaction.cpp", "  if (!is_named_) return false;", "  return false;",
        store("pack_gc", "what a cut-off reindex has not come to is kept if a manifest names it")),
    Protection(
        "pack-copy-checked", "what is damaged is not copied under a fresh checksum",
        "src/store/pack_compaction.cpp",
        " &&\n           checksum64(bytes.subspan(limits::pack_entry_header_bytes)) == entry->checksum;",
        ";",
        store("pack_gc", "a pack with a damaged block is not copied, and verify still finds the damage")),
]

OPENING = [
    Protection(
        "index-fill-sync", "an index that is built from files syncs them before it says that they are "
        "there",
        "src/store/open_store.cpp",
        '      writing([&] { parts.files->sync(sync_scope::file_system, ""); });\n    } else {',
        "    } else {",
        store("open_store", "rows of an index that is built again come after the sync of their files")),
    Protection(
        "scratch-of-the-living", "the temporary files of a process that lives are not cleaned",
        "src/store/scratch.cpp", "    if (scratch_owner_lives(blockstore, entry.name)) return false;", "",
        store("open_store", "the temporary files of a living process are left alone")),
    Protection(
        "config-version", "a store of another version is refused",
        "src/store/config.cpp", "  if (*version != loose_version && *version != pack_version) {",
        "  if (false) {",
        store("open_store", "a config.json that is not ours is refused and nothing is changed")),
    Protection(
        "config-hash", "a store of another hash is refused",
        "src/store/config.cpp", "  if (*hash != config_hash) {", "  if (false) {",
        store("open_store", "a config.json that is not ours is refused and nothing is changed")),
    Protection(
        "foreign-database", "a database of another program is not written to",
        "src/store/index.cpp", "  if (writer_->query_number(count_foreign_tables) > 0) {",
        "  if (false) {", store("open_store", "a database of another program is refused")),
    Protection(
        "index-waits", "a database that is locked for a moment is waited for",
        "src/store/sqlite.cpp", "  if (now - c.waiting_since_ >= c.wait_max_) return 0;", "  return 0;",
        store("open_store", "an index that is locked for a moment is waited for")),
    Protection(
        "room-for-rows", "on a full disk what was put gets its rows and manifests",
        "src/store/loose_store.cpp",
        "    if (failure.code() == store_errc::store_full) (void)parts_.room->give_up();", "",
        store("held_room", "on a full disk what was put gets its rows, and images of it their manifests"),
        also=(("src/store/held_room.hpp",
               "if (failure.code() != store_errc::store_full || !give_up()) throw;", "throw;"),),
        needs_root=True),
    Protection(
        "room-for-manifests", "a manifest that grows without end is given up before the disk is full",
        "src/pipeline/manifest_room.cpp", "  if (free + coming_back_ >= reserve_) return",
        "  if (true) return",
        Unit("pipeline", "manifest_room", "below it the largest is given up, and who asks waits until "
             "its lines are gone")),
]

MANIFESTS = [
    Protection(
        "manifest-after-blocks", "a copy's manifest gets its name after its blocks are durable",
        "src/store/copy.cpp", "  to_.store.barrier();", "",
        store("copy", "at every write the power is cut: what is there restores, and the next copy is "
              "whole")),
    Protection(
        "dump-manifest-after-blocks", "a dump's manifest gets its name after its blocks are durable",
        "src/pipeline/dump.cpp", "    context.store.barrier();", "",
        Unit("pipeline", "dump", "a manifest appears after the barrier, which gives its blocks their "
             "rows")),
    Protection(
        "manifest-sync", "a manifest is durable before it gets its name",
        "src/store/manifest_writer.cpp",
        "        files_.sync(sync_scope::file, path_);\n        return give_name(folder);",
        "        return give_name(folder);", CUT_DUMP),
    Protection(
        "manifest-name-sync", "a dump that said it was done has its manifest after a power cut",
        "src/store/manifest_writer.cpp", "        sync_folders(folder);\n", "", CUT_DUMP),
    Protection(
        "manifest-name-back", "a dump that is told as failed leaves no manifest",
        "src/store/manifest_writer.cpp", "        take_name_back(target);", "",
        store("manifest", "a failure at any call of the writer leaves no manifest and no temporary "
              "file")),
    Protection(
        "manifest-torn-write", "the part that a full disk took is not written again behind it",
        "src/store/manifest_writer.cpp", "      if (torn_) keep_only(written_bytes_);", "",
        store("interrupted", "what a full disk took of a write is not written again behind it")),
    Protection(
        "manifest-version-once", "the number of a version that was removed is not given again",
        "src/store/manifest_writer.cpp", "highest = std::max(highest, parsed.version);", "++highest;",
        store("manifest", "a version that was removed does not come back as another image")),
    Protection(
        "manifest-text", "a manifest is the text of 0.1.x to the byte, its lines in their order",
        "src/store/manifest_writer.cpp",
        '    line("source", header.source);\n    line("date", header.date);\n',
        '    line("date", header.date);\n    line("source", header.source);\n',
        store("manifest", "what is written is the text of 0.1.x, and reads back")),
    Protection(
        "manifest-one-line", "a line end in a source's name does not begin a line of its own",
        "src/store/manifest_writer.cpp", "    if (c < 0x20 || c == 0x7f) {", "    if (false) {",
        store("manifest", "line ends in a source do not make lines, and long values are cut")),
    Protection(
        "manifest-digests", "a line that is no digest of 64 digits is damage",
        "src/codec/block_id.cpp", "  if (text.size() != 2 * size_bytes) return std::nullopt;",
        "  if (text.size() < 2 * size_bytes) return std::nullopt;", BAD_MANIFEST),
    Protection(
        "manifest-too-few", "a manifest that ends early is damage",
        "src/store/manifest_reader.cpp",
        "        if (may_end || told == *total_blocks_) return std::nullopt;",
        "        if (may_end || told <= *total_blocks_) return std::nullopt;", BAD_MANIFEST),
    Protection(
        "manifest-too-many", "a manifest with more blocks than it says is damage",
        "src/store/manifest_reader.cpp", "    if (told == *total_blocks_) {\n      throw",
        "    if (false) {\n      throw", BAD_MANIFEST),
    Protection(
        "manifest-total-size", "a size that does not make as many blocks is damage",
        "src/store/manifest_reader.cpp",
        "    if (header_.geometry.blocks().value != *total_blocks_) {", "    if (false) {", BAD_MANIFEST),
    Protection(
        "manifest-long-line", "10 GB without a line end are damage after the first piece",
        "src/store/manifest_reader.cpp", "      if (length > limits::manifest_line_bytes_max) {",
        "      if (false) {", store("manifest", "endless comments and 10 GB of nothing end early")),
    Protection(
        "manifest-comments", "comments without end are not kept",
        "src/store/manifest_reader.cpp",
        "    if (++comments_ > limits::manifest_comment_lines_max) {", "    if (false) {",
        store("manifest", "endless comments and 10 GB of nothing end early")),
]

CHECKS = [
    Protection(
        "digest-on-arrival", "a block with other content than announced is not stored",
        "src/pipeline/verify.cpp", "  if (found == announced) return;", "  return;",
        Unit("pipeline", "dump", "a block with other content than announced ends the target and is not "
             "stored")),
    Protection(
        "digest-on-restore", "a stored block with other content is not restored",
        "src/pipeline/restore.cpp",
        "      if (digests[i] != block.id) {", "      if (false) {",
        EndToEnd("bad_store_test.py", "Blocks.test_a_block_with_other_content_is_not_restored")),
    Protection(
        "digest-on-copy", "a block that is damaged is not copied",
        "src/store/copy.cpp", "  if (!condition.good()) {", "  if (false) {",
        store("copy", "a block that is damaged or missing fails its image, with its place, and is not "
              "put")),
    Protection(
        "verify-digest", "verify finds a block with other content",
        "src/store/block_check.cpp", "    if (!found.good() || digests[i] == ids_[i]) continue;",
        "    continue;", EACH_DAMAGE),
    Protection(
        "verify-truncated", "verify tells a block that was cut from one that is damaged",
        "src/store/block_check.cpp", "failure.code() == codec_errc::too_short ? kind::truncated",
        "false ? kind::truncated", EACH_DAMAGE),
    Protection(
        "verify-empty", "verify finds an empty file",
        "src/store/block_check.cpp",
        '    if (frame->empty()) return block_condition{kind::empty, "the file is empty", 0, 0};',
        "    if (frame->empty()) return block_condition{};", EACH_DAMAGE),
    Protection(
        "verify-missing", "verify finds a row without its file",
        "src/store/verify_blocks.cpp", "  if (!block.has_row) return;", "  return;",
        store("verify", "each kind of damage is found and named with what it hits, and the next dump "
              "heals it"),
        also=(("src/store/verify_manifests.cpp", "  if ((marks_.of(id) & reported) == 0) {",
               "  if (false) {"),)),
    Protection(
        "verify-heals", "what is set aside loses its row, so that the next dump sends it",
        "src/store/index.cpp", "    (void)remove_->step();\n    removed +=", "    removed +=", EACH_DAMAGE),
    Protection(
        "verify-no-repair", "verify --no-repair changes nothing",
        "src/store/verify.cpp", "  if (options_.repair) {\n    try {", "  {\n    try {",
        store("verify", "without repair nothing is changed")),
    Protection(
        "verify-lease", "no reindex moves the index away under a verify",
        "src/store/verify.cpp", "  if (!repair) return std::nullopt;", "  return std::nullopt;",
        store("reindex", "a damaged index is not moved away under a verify that sets bad blocks aside")),
    Protection(
        "reindex-sync", "reindex syncs what it found before it says that it is there",
        "src/store/reindex.cpp",
        '    writing([&] { parts_->files->sync(sync_scope::file_system, ""); });', "",
        store("reindex", "rows come after the sync of the files that were found")),
    Protection(
        "reindex-beside-dumps", "a damaged index is not moved away under a running dump",
        "src/store/reindex.cpp", "  if (!held_leases(base).empty()) {", "  if (false) {",
        store("reindex", "a damaged index is not moved away under a running dump")),
    Protection(
        "reindex-beside-gc", "a damaged index is not moved away under a running gc",
        "src/store/reindex.cpp", "  if (lock) return std::move(*lock);",
        "  return lock ? std::move(*lock) : lock_file::wait_for(path + \"2\");",
        store("reindex", "an index is not moved away under a running gc, nor opened by one before its "
              "turn")),
    Protection(
        "reindex-condemned", "what gc condemned stays condemned",
        "src/store/reindex.cpp", "  if (block.condemned || (block.has_row", "  if ((block.has_row",
        store("reindex", "beside a running dump: its files get rows, and what gc condemned stays "
              "condemned")),
    Protection(
        "reindex-true-rows", "a row that is true by the time that it would go stays",
        "src/store/index.cpp", "    if (keep(id)) continue;", "    (void)keep(id);",
        store("reindex", "a block that a dump puts while reindex looks at it keeps its row")),
    Protection(
        "reindex-gone-file", "a file that went by the time that it would get a row gets none",
        "src/store/index.cpp", "    if (!exists(block)) continue;", "    (void)exists(block);",
        store("reindex", "a file that goes while reindex looks at it gets no row")),
]

PRUNING = [
    Protection(
        "prune-last", "prune keeps the newest N",
        "src/store/prune.cpp", "i-- > 0 && kept < policy.last; ++kept) {",
        "i-- > 0 && kept + 1 < policy.last; ++kept) {", store("prune", "the newest N are kept")),
    Protection(
        "prune-newest-of-day", "prune keeps one image of each day, the newest",
        "src/store/prune.cpp", "    if (previous == period) continue;", "",
        store("prune", "the newest of each UTC day is kept, and only days that have one count")),
    Protection(
        "prune-each-name", "each name is judged by itself",
        "src/store/prune.cpp", "candidates[end].name == candidates[begin].name) ++end;", "true) ++end;",
        store("prune", "each name is judged by itself, and keeps at least its newest")),
    Protection(
        "prune-no-date", "an image without a date is kept",
        "src/store/prune.cpp",
        '      verdicts[i].keep = true;\n      verdicts[i].reasons.emplace_back("no date");',
        '      verdicts[i].reasons.emplace_back("no date");',
        store("prune", "what is protected or has no date is kept and takes nothing from the rules")),
    Protection(
        "prune-protected", "what is protected is kept",
        "src/store/prune.cpp", "    if (candidates[i].is_protected) {", "    if (false) {",
        store("prune", "what is protected or has no date is kept and takes nothing from the rules")),
    Protection(
        "prune-protected-meanwhile", "what is protected after the plan was made is kept",
        "src/store/prune.cpp", "    if (is_protected(files, path) || !files.remove(path)) return false;",
        "    if (!files.remove(path)) return false;",
        store("prune", "a manifest that was protected meanwhile stays")),
    Protection(
        "prune-damaged", "a good image is not removed in favour of one that cannot be read",
        "src/store/prune.cpp", "      while (!monitor.stop && reader.next()) {\n      }\n", "",
        store("prune", "a damaged manifest is named, and none is removed in its favour")),
    Protection(
        "prune-out-of-sight", "nothing is planned while some of the manifests cannot be seen",
        "src/store/prune.cpp",
        "    if (failure.code() == store_errc::cannot_read) throw failure;", "",
        store("prune", "nothing is planned while manifests lie where nobody can look")),
    Protection(
        "prune-sync", "a manifest is gone for good before its blocks go",
        "src/store/prune.cpp",
        "    auto folder = path.substr(0, path.rfind('/'));\n"
        "    files.sync(sync_scope::directory, folder);\n",
        "    auto folder = path.substr(0, path.rfind('/'));\n", CUT_PRUNE),
    Protection(
        "protect-sync", "a mark that keeps an image is durable",
        "src/store/protection.cpp", "    sync_up(*files, folder_of(mark));", "",
        store("protection", "a mark is durable, and so is its end")),
]

COMMANDS = [
    Protection(
        "import-date", "a date that the clock cannot hold is wrong usage",
        "src/cli/values.cpp", "  if (*seconds < 0 || *seconds >= most) {", "  if (false) {",
        EndToEnd("verbs_test.py", "Import.test_a_date_that_is_none_is_wrong_usage")),
    Protection(
        "import-time", "an hour, minute or zone that no clock shows is wrong usage",
        "src/cli/values.cpp", "  if (!seconds || !plausible(text)) {", "  if (!seconds) {",
        Unit("cli", "values", "nonsense is no date")),
    Protection(
        "import-directory", "what is no image changes nothing",
        "src/cli/cmd_import.cpp", "  check_image(arguments.dump.targets.front().path);", "",
        EndToEnd("verbs_test.py", "Import.test_what_is_no_image_changes_nothing")),
    Protection(
        "source-shrank", "a source that was cut behind its last data is not taken for one of zeros",
        "agent/read.cpp", "    if (none) co_await check_not_shorter();", "",
        Unit("agent", "agent stages", "a source that became shorter behind its last data is found out")),
    Protection(
        "source-short-read", "what a short read did not bring is not taken for data",
        "agent/rescue.cpp", "    throw shrank(offset_bytes + result.got_bytes);", "    co_return;",
        Unit("agent", "agent stages", "a short read tells where the source ends, also behind a bad "
             "sector")),
    Protection(
        "source-changed", "an attempt that finds another source does not go on with its image",
        "src/pipeline/image_ledger.cpp", "  if (found.identity != source->identity) {",
        "  if (false) {", Unit("pipeline", "image_ledger", "an attempt that finds another source is "
                               "refused")),
]

PROTECTIONS = [*GARBAGE, *LOOSE, *PACKS, *OPENING, *MANIFESTS, *CHECKS, *PRUNING, *COMMANDS]
