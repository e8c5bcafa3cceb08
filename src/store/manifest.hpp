// Manifests: text files that list an image's blocks (FORMAT.md has the layout). In a store of packs
// they name lists, blocks of the store that hold the digests (digest_list.hpp); in others they hold
// the digests themselves. Written as a stream while the dump runs, in constant memory (one list);
// they appear under their final name by rename at the end. Blocking calls; one thread at a time per
// object.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/units.hpp"
#include "codec/block_id.hpp"
#include "store/block_store.hpp"
#include "store/digest_list.hpp"

namespace diskdump {

struct manifest_header {
  std::string source;  // "server01:/dev/sda"
  std::string date;    // ISO 8601, as written
  block_geometry geometry;
  // Other `# key: value` lines, in order. A reader adds those that stand between or after the
  // digests when it comes by them.
  std::vector<std::pair<std::string, std::string>> extra;
};

// Whether `failure` says no more than that the file is not there: deleted since it was found.
[[nodiscard]] bool is_gone(error const& failure) noexcept;

// Checks a manifest name (`--as`, or derived): 1 to limits::name_bytes_max bytes, no slash, NUL or
// control character, not starting with a dot, not ending in ".manifest" or in "~" and a number.
// Throws bad_name with the remedy.
void check_manifest_name(std::string_view name);

// `HOST-DEV` for a source: "/dev/" dropped, slashes at the ends too, others as dots. The result
// passes check_manifest_name() or it throws.
[[nodiscard]] std::string default_manifest_name(std::string_view host, std::string_view path);

class manifest_writer {
 public:
  // Opens a temporary file in the store. `base` is DIR. `files`, rooted at DIR, outlives the
  // writer; nullptr: the real one. Throws bad_name, cannot_write. The manifest holds the digests.
  manifest_writer(std::string base, std::string name, manifest_header header,
                  file_system* files = nullptr);
  // The same for a manifest as this store, which is that of `base` and outlives the writer, has
  // them: with lists, where it keeps lists, which are put into it.
  manifest_writer(std::string base, std::string name, manifest_header header, block_store& store,
                  file_system* files = nullptr);
  ~manifest_writer();  // removes the temporary file unless published
  manifest_writer(manifest_writer const&) = delete;
  manifest_writer& operator=(manifest_writer const&) = delete;

  // The next block. Throws cannot_write. With the last one, the last list is in the store.
  // REQUIRES: no more than the geometry has.
  void add(block_id const& id);
  // A `# key: value` line after the header, or between or after the blocks.
  // Line ends and other control characters in the value are written as \xNN.
  // REQUIRES: a key of 1 to 255 bytes without colon. Throws cannot_write;
  // damaged_manifest for more than limits::manifest_comment_lines_max lines in
  // all.
  void comment(std::string_view key, std::string_view value);

  // Makes the file durable and gives it its name below DIR/YYYY/MM/DD: NAME.manifest,
  // NAME.2.manifest, …, one past the highest that is there. Never replaces one. Returns the path
  // relative to DIR. Throws cannot_write; then no manifest appeared.
  // REQUIRES: as many blocks were added as the geometry has, and the barrier that covers them and
  // their lists is done: it began after the last add(). One that failed can be followed by
  // end_lists() and keep_interrupted().
  [[nodiscard]] std::string publish(clock_source::wall date);

  // Takes back all blocks but the first `blocks`, and all comments since the header: what follows
  // is told again. REQUIRES: no more than were added. Throws cannot_write.
  void rewind(block_count blocks);

  // Puts the digests that no list holds yet into one, before a barrier that is to cover it. After
  // it only keep_interrupted() may be called. Throws cannot_write.
  void end_lists();
  // Instead of publish(): makes what there is durable as the interrupted dump of this name (see
  // interrupted.hpp), in the place of an older one. Last call. Throws cannot_write.
  // REQUIRES: end_lists(), and a barrier after it.
  void keep_interrupted();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

// What a file of digests is held to: all blocks of its header, or the first so many of them.
enum class manifest_extent : std::uint8_t { whole, interrupted };

// A list that a manifest names, and the blocks whose digests it holds. In an interrupted dump the
// last one may hold fewer.
struct named_list {
  block_id id;
  block_index first;
  block_count blocks;
};

// Reads a manifest as a stream, in constant memory whatever the file holds: one buffer of text, and
// one list. Throws damaged_manifest with file and line, or the blocks whose list cannot be had;
// no_such_manifest, cannot_read for a link that leads nowhere, or the io error of the system.
class manifest_reader {
 public:
  // `lists`: where they are read, if the manifest names any.
  explicit manifest_reader(std::string path, list_source lists = {},
                           manifest_extent extent = manifest_extent::whole);
  ~manifest_reader();
  manifest_reader(manifest_reader&&) noexcept;
  manifest_reader& operator=(manifest_reader&&) noexcept;

  [[nodiscard]] manifest_header const& header() const noexcept;
  // The next block's id, nullopt after the last. Checks that there are exactly as many as the
  // header says, or no more where the dump was interrupted.
  [[nodiscard]] std::optional<block_id> next();

  // Whether it names lists. Those who look after a store go from list to list.
  [[nodiscard]] bool has_lists() const noexcept;
  // The next list, which is not read yet; what next() has not given of the one before is passed
  // over. nullopt after the last, or where it names none.
  // Checks as next().
  [[nodiscard]] std::optional<named_list> next_list();
  // The digests of the list that next_list() gave, until the next call; next() does not give them.
  // Throws damaged_manifest where it is missing or damaged; the lists after it can be had then.
  [[nodiscard]] std::span<block_id const> read_list();

  [[nodiscard]] std::string const& path() const noexcept;
  [[nodiscard]] std::uint64_t file_bytes() const noexcept;
  // A shorter file cannot hold all that the header says.
  [[nodiscard]] std::uint64_t file_bytes_min() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

// The most bytes that the manifest of so many blocks and its lists take in this store.
[[nodiscard]] std::uint64_t manifest_bytes_max(block_store const& store,
                                               block_count blocks) noexcept;
// Of these, its own file's lines; the rest are lists.
[[nodiscard]] std::uint64_t manifest_line_bytes(block_store const& store,
                                                block_count blocks) noexcept;

struct manifest_entry {
  std::string path;  // relative to DIR
  std::string name;  // "server01-sda"
  std::uint32_t version = 1;
  manifest_header header;
  std::uint64_t file_bytes = 0;
};

// All manifests of a store in both layouts, ordered by name, then date, then version. One that does
// not parse is handed to `damaged` and left out; so is, as cannot_read, a folder or a link that
// cannot be looked into (without `damaged` such a folder is thrown, such a link passed over). Only
// headers are read (and the file size compared with what they promise), so a damaged line further
// down shows only when it is read.
[[nodiscard]] std::vector<manifest_entry> list_manifests(
    std::string const& base,
    std::function<void(std::string const& path, error const&)> const& damaged);

// The newest manifest of exactly this name by day and version, DIR-joined; nullopt where there is
// none. Opens no manifest, and no folder of a day before the newest that has one: a store may hold
// very many. The 0.1.x layout is looked at last. REQUIRES: `name` passes check_manifest_name().
[[nodiscard]] std::optional<std::string> newest_manifest(std::string const& base,
                                                         std::string_view name);

// What the user meant by MANIFEST: a path (absolute, below DIR, below .blockstore/manifests), a
// NAME (its newest), NAME~N (the N-th before that), NAME@DATE (the newest whose date starts with
// DATE). A name wins over a file of the same name that does not end in ".manifest", which may be
// left out. Returns an absolute or DIR-joined path. Throws no_such_manifest, naming near misses.
[[nodiscard]] std::string find_manifest(std::string const& base, std::string_view what);

}  // namespace diskdump
