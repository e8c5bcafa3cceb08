// A folder of its own for the temporary files of one writer: .blockstore/tmp/UNIQUE/, owned by the
// lock file .blockstore/tmp/UNIQUE.lock. The lock is taken before the folder is made and let go
// after it is removed, so a folder without a locked file belongs to nobody. Internal to src/store;
// next_path() from any thread.
#pragma once

#include <atomic>
#include <string>

#include "io/file_system.hpp"
#include "store/layout.hpp"
#include "store/lock_file.hpp"

namespace diskdump {

class scratch_folder {
 public:
  // `blockstore` is the real path of .blockstore; `files` and `layout` reach the same place and
  // `files` outlives this object. Throws cannot_write.
  scratch_folder(std::string const& blockstore, file_system& files, store_layout const& layout);
  ~scratch_folder();  // with everything in it
  scratch_folder(scratch_folder const&) = delete;
  scratch_folder& operator=(scratch_folder const&) = delete;

  // A path in `files` that was not given out before.
  [[nodiscard]] std::string next_path();

  // A name that no other folder has or had.
  [[nodiscard]] std::string const& unique_name() const noexcept { return lock_.stem(); }

 private:
  file_system& files_;
  lock_file lock_;
  std::string folder_;
  std::atomic<std::uint64_t> next_{0};
};

// Whether the owner of the folder of this name may still be alive.
[[nodiscard]] bool scratch_owner_lives(std::string const& blockstore, std::string const& name);

// Removes what dead owners left behind. Failures are passed over: it is tried again at the next
// open. Returns how many folders went.
std::size_t clean_scratch(std::string const& blockstore, file_system& files,
                          store_layout const& layout);

}  // namespace diskdump
