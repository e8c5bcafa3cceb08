// The file system as the store needs it: a dozen blocking calls on paths below one root directory,
// so that tests can fail the n-th call and cut the power. All calls are thread-safe and made on the
// caller's thread, never on the event loop.
//
// Paths are relative to the root ("" is the root itself), without "..". Failures throw `error` with
// an io_errc and the whole path; what is normal (absent, exists already) is a value.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"

namespace diskdump {

enum class entry_kind : std::uint8_t { file, directory, other };

struct directory_entry {
  std::string name;
  entry_kind kind = entry_kind::other;
  std::uint64_t size_bytes = 0;  // of files, if asked for
  // Files with neighbouring numbers usually lie near each other on the disk.
  std::uint64_t inode = 0;
};

enum class listing : std::uint8_t {
  names,  // what the directory itself says: one call for hundreds of entries
  sizes,  // one more call for each entry
};

enum class sync_scope : std::uint8_t {
  file,         // the content and size of the file `path`
  directory,    // the names in the directory `path`
  file_system,  // everything below the root, `path` is ignored: one syncfs
};

// When what is added to a file goes to the disk.
enum class write_back : std::uint8_t {
  early,  // large pieces at once, so that little is left for sync()
  late,   // when the system sees fit
};

// A new file that its maker adds to. It stays open from its creation on, so that sync() is told of
// every write-back that failed. One thread at a time appends; sync() may run beside it.
class append_file {
 public:
  virtual ~append_file() = default;

  // Adds to the end. A write that fails may have added a part.
  virtual void append(byte_view bytes) = 0;

  // When it returns, the file can grow to this size however full the file system becomes; where the
  // file system promises nothing of the kind, it returns all the same. What is not used is given
  // back when the file is closed. May run beside append(). Throws no_space.
  virtual void reserve(std::uint64_t size_bytes) { (void)size_bytes; }

  // When it returns, the content and size as they were at the call survive a power cut; the name
  // is the directory's matter.
  virtual void sync() = 0;
};

// A file that is read piece by piece. It stays what it was at its opening, whatever becomes of its
// name. Any number of threads may read at the same time.
class read_file {
 public:
  virtual ~read_file() = default;

  // As it was at the opening.
  [[nodiscard]] virtual std::uint64_t size_bytes() const noexcept = 0;

  // Fills `into` from `offset_bytes` on; returns how much of it, less only at the end of the file.
  [[nodiscard]] virtual std::size_t read(byte_span into, std::uint64_t offset_bytes) = 0;
};

class file_system {
 public:
  virtual ~file_system() = default;

  // Creates the file with this content; false where the path exists. Not durable. A write that
  // fails leaves no file behind. The directory must exist.
  virtual bool create_exclusive(std::string const& path, byte_view bytes) = 0;

  // Creates an empty file to add to; nullptr where the path exists. The directory must exist.
  [[nodiscard]] virtual std::unique_ptr<append_file> create_appendable(std::string const& path,
                                                                       write_back when) = 0;

  // Creates a file that takes up this much room until it is removed. False where the path exists,
  // there is not that much room, or the file system promises none.
  [[nodiscard]] virtual bool hold_room(std::string const& path, std::uint64_t bytes) {
    (void)path, (void)bytes;
    return false;
  }
  // What is free for us; 0 where nobody can tell.
  [[nodiscard]] virtual std::uint64_t room_bytes() { return 0; }

  // Adds to the end of an existing file. A write that fails may have added a part.
  virtual void append(std::string const& path, byte_view bytes) = 0;

  // Opens a file to be read; nullptr where the path does not exist. Throws is_directory, or
  // unsupported_type for what is no file.
  [[nodiscard]] virtual std::unique_ptr<read_file> open_readable(std::string const& path) = 0;

  // At most `bytes_max` bytes from `offset_bytes` on, fewer only at the end of the file; nullopt
  // where the path does not exist. (bytes_max 0 asks whether it exists.)
  [[nodiscard]] virtual std::optional<byte_vector> read(std::string const& path,
                                                        std::size_t bytes_max,
                                                        std::uint64_t offset_bytes = 0) = 0;

  // Tells what has this name now from whatever else had it before or gets it later: two that are
  // equal are of one file that did not grow or shrink in between, and was not renamed. Bytes for
  // comparing only; none where the path does not exist.
  [[nodiscard]] virtual std::string stamp(std::string const& path) = 0;

  // Renames, never replacing: false where `to` exists. Settles races between processes.
  virtual bool rename_noreplace(std::string const& from, std::string const& to) = 0;

  // Removes a file or an empty directory; false where there is none.
  virtual bool remove(std::string const& path) = 0;

  // Creates the directory and those above it, as far as they do not exist.
  virtual void make_directories(std::string const& path) = 0;

  // The entries of a directory in no particular order; nothing where it does not exist.
  [[nodiscard]] virtual std::vector<directory_entry> list_directory(
      std::string const& path, listing detail = listing::names) = 0;

  // When it returns, what `what` names survives a power cut. An error that the system met while
  // writing anything back since the last call is thrown here.
  virtual void sync(sync_scope what, std::string const& path) = 0;
};

// The real one. Opens the root directory once and keeps it: syncfs reports write-back errors only
// to descriptors that were open before the writes. Throws `error` where `root` is no directory;
// `create` makes it (and those above it) first.
[[nodiscard]] std::unique_ptr<file_system> make_posix_file_system(std::string const& root,
                                                                  bool create = false);

}  // namespace diskdump
