// Manifests: text files that list an image's blocks (FORMAT.md has the layout). Written as a stream
// while the dump runs, in constant memory; they appear under their final name by rename at the end.
// Blocking calls; one thread at a time per object.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/units.hpp"
#include "codec/block_id.hpp"
#include "store/block_store.hpp"

namespace diskdump {

struct manifest_header {
  std::string source;  // "server01:/dev/sda"
  std::string date;    // ISO 8601, as written
  block_geometry geometry;
  // Other `# key: value` lines, in order. A reader adds those that stand between or after the
  // digests when it comes by them.
  std::vector<std::pair<std::string, std::string>> extra;
};

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
  // writer; nullptr: the real one. Throws bad_name, cannot_write.
  manifest_writer(std::string base, std::string name, manifest_header header,
                  file_system* files = nullptr);
  ~manifest_writer();  // removes the temporary file unless published
  manifest_writer(manifest_writer const&) = delete;
  manifest_writer& operator=(manifest_writer const&) = delete;

  // The next block. Throws cannot_write.
  void add(block_id const& id);
  // A `# key: value` line after the header, or between or after the blocks. Line ends and other
  // control characters in the value are written as \xNN.
  // REQUIRES: a key without colon, at most limits::manifest_comment_lines_max lines in all.
  void comment(std::string_view key, std::string_view value);

  // Makes the file durable and gives it its name below DIR/YYYY/MM/DD: NAME.manifest,
  // NAME.2.manifest, …, one past the highest that is there. Never replaces one. Returns the path
  // relative to DIR. Throws cannot_write; then no manifest appeared.
  // REQUIRES: as many blocks were added as the geometry has, and the barrier that covers them is
  // done.
  [[nodiscard]] std::string publish(clock_source::wall date);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

// Reads a manifest as a stream, in constant memory whatever the file holds. Throws
// damaged_manifest with file and line, no_such_manifest, or the io error of the system.
class manifest_reader {
 public:
  explicit manifest_reader(std::string path);
  ~manifest_reader();
  manifest_reader(manifest_reader&&) noexcept;
  manifest_reader& operator=(manifest_reader&&) noexcept;

  [[nodiscard]] manifest_header const& header() const noexcept;
  // The next block's id, nullopt after the last. Checks that there are exactly as many as the
  // header says.
  [[nodiscard]] std::optional<block_id> next();
  [[nodiscard]] std::string const& path() const noexcept;
  [[nodiscard]] std::uint64_t file_bytes() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

struct manifest_entry {
  std::string path;  // relative to DIR
  std::string name;  // "server01-sda"
  std::uint32_t version = 1;
  manifest_header header;
  std::uint64_t file_bytes = 0;
};

// All manifests of a store in both layouts, ordered by name, then date, then version. One that does
// not parse is handed to `damaged` and left out. Only headers are read (and the file size compared
// with what they promise), so a damaged line further down shows only when it is read.
[[nodiscard]] std::vector<manifest_entry> list_manifests(
    std::string const& base,
    std::function<void(std::string const& path, error const&)> const& damaged);

// What the user meant by MANIFEST: a path (absolute, below DIR, below .blockstore/manifests), a
// NAME (its newest), NAME~N (the N-th before that), NAME@DATE (the newest whose date starts with
// DATE). A name wins over a file of the same name that does not end in ".manifest", which may be
// left out. Returns an absolute or DIR-joined path. Throws no_such_manifest, naming near misses.
[[nodiscard]] std::string find_manifest(std::string const& base, std::string_view what);

}  // namespace diskdump
