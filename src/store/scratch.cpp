#include "store/scratch.hpp"

#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/format.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

constexpr std::string_view lock_suffix = ".lock";

void remove_folder(file_system& files, std::string const& folder) {
  for (auto const& entry : files.list_directory(folder)) {
    if (entry.kind != entry_kind::directory) (void)files.remove(folder + "/" + entry.name);
  }
  (void)files.remove(folder);
}

// True where it was the folder of a dead owner. It is judged by its lock file as it is now, not as
// it was when the listing was made: the lock exists before the folder does.
bool clean_entry(std::string const& blockstore, file_system& files, store_layout const& layout,
                 directory_entry const& entry) {
  auto const inside = layout.in("tmp/" + entry.name);
  if (entry.kind == entry_kind::directory) {
    if (scratch_owner_lives(blockstore, entry.name)) return false;
    remove_folder(files, inside);
    return true;
  }
  if (entry.name.ends_with(lock_suffix)) {
    (void)lock_file::take_stale(blockstore + "/tmp/" + entry.name);
  } else {
    (void)files.remove(inside);
  }
  return false;
}

}  // namespace

scratch_folder::scratch_folder(std::string const& blockstore, file_system& files,
                               store_layout const& layout)
    : files_(files),
      lock_(lock_file::create(blockstore + "/tmp", lock_suffix, "")),
      folder_(layout.in("tmp/" + lock_.stem())) {
  writing([&] { files_.make_directories(folder_); });
}

scratch_folder::~scratch_folder() {
  try {
    remove_folder(files_, folder_);
  } catch (std::exception const&) {
    // The next open for writing cleans it.
  }
}

std::string scratch_folder::next_path() {
  return format("{}/{}", folder_, next_.fetch_add(1, std::memory_order_relaxed));
}

bool scratch_owner_lives(std::string const& blockstore, std::string const& name) {
  auto const path = blockstore + "/tmp/" + name + std::string(lock_suffix);
  if (lock_file::take_stale(path)) return false;
  return ::access(path.c_str(), F_OK) == 0 || errno != ENOENT;
}

std::size_t clean_scratch(std::string const& blockstore, file_system& files,
                          store_layout const& layout) {
  std::vector<directory_entry> entries;
  try {
    entries = files.list_directory(layout.in("tmp"));
  } catch (std::exception const&) {
    return 0;  // left for the next open
  }
  std::size_t removed = 0;
  for (auto const& entry : entries) {
    try {
      removed += clean_entry(blockstore, files, layout, entry) ? 1 : 0;
    } catch (std::exception const&) {
      // This one is left for the next open.
    }
  }
  return removed;
}

}  // namespace diskdump
