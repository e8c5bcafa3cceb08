#include "store/manifest_marks.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/file_system.hpp"
#include "io/io_errc.hpp"
#include "store/interrupted.hpp"
#include "store/manifest.hpp"
#include "store/manifest_name.hpp"
#include "store/run_parallel.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view magic = "# diskdump manifest ";

// All manifests below `folder`, which is relative to DIR, wherever they lie. What cannot be looked
// at is thrown: a person may have moved a manifest there.
class search {
 public:
  explicit search(std::string const& base)
      : base_(base), files_(make_posix_file_system(base)), device_(status_of(base).st_dev) {}

  void below(std::string const& folder, std::set<std::string>& found) {
    auto const root = folder.empty() ? base_ : base_ + "/" + folder;
    std::error_code failed;
    fs::recursive_directory_iterator at(root, failed);
    if (failed == std::errc::no_such_file_or_directory) return;
    if (failed) throw cannot_search(root, failed);
    for (fs::recursive_directory_iterator const end; at != end;) {
      if (++entries_ > limits::manifest_search_entries_max) throw too_many();
      auto const here = at->path().string();
      look_at(at, here, found);
      at.increment(failed);
      // The iterator is at its end now; what it would still have found is not known.
      if (failed) throw cannot_search(here, failed);
    }
  }

 private:
  void look_at(fs::recursive_directory_iterator& at, std::string const& path,
               std::set<std::string>& found) {
    std::error_code failed;
    if (at->is_symlink(failed)) return;  // what the layouts reach through links is found by them
    bool const is_folder = !failed && at->is_directory(failed);
    bool const is_file =
        !failed && !is_folder && path.ends_with(manifest_suffix) && at->is_regular_file(failed);
    if (failed && failed != std::errc::no_such_file_or_directory) throw cannot_search(path, failed);
    if (is_folder && !belongs(path)) at.disable_recursion_pending();
    if (is_file && looks_like_manifest(path)) found.insert(path.substr(base_.size() + 1));
  }

  // Whether what is below this folder is looked at.
  bool belongs(std::string const& path) {
    if (path == base_ + "/.blockstore") return false;
    try {
      if (status_of(path).st_dev != device_) return false;
    } catch (error const& failure) {
      if (failure.code() == io_errc::not_found) return false;  // removed meanwhile
      throw as_cannot_read(failure);
    }
    if (::access(path.c_str(), R_OK | X_OK) == 0) return true;
    std::error_code const failed(errno, std::generic_category());
    // fsck fills it, and only root can look into it: it would keep everybody else from collecting.
    bool const of_fsck = path == base_ + "/lost+found";
    if (of_fsck || failed == std::errc::no_such_file_or_directory) return false;
    throw cannot_search(path, failed);
  }

  // Files that other programs call so are no business of ours.
  bool looks_like_manifest(std::string const& path) {
    try {
      auto const start = files_->read(path.substr(base_.size() + 1), magic.size());
      return start && as_text(*start) == magic;
    } catch (error const& failure) {
      throw as_cannot_read(failure);
    }
  }

  static struct stat status_of(std::string const& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) == 0) return status;
    throw disk_error(errno, io_direction::open, "stat", path);
  }

  static error cannot_search(std::string const& path, std::error_code const& failed) {
    return as_cannot_read(disk_error(failed.value(), io_direction::open, "search", path));
  }

  [[nodiscard]] error too_many() const {
    return error(store_errc::cannot_read, severity::permanent)
        .path(base_)
        .cause(format("it holds more than {} files beside the store",
                      limits::manifest_search_entries_max))
        .remedy("give the store a folder of its own");
  }

  std::string const& base_;
  std::unique_ptr<file_system> files_;
  std::uint64_t device_ = 0;
  std::size_t entries_ = 0;
};

}  // namespace

manifest_marks::manifest_marks(std::string base, unsigned threads, log_sink* log,
                               std::set<std::string> without)
    : base_(std::move(base)), threads_(threads), log_(log), without_(std::move(without)) {
  while (base_.size() > 1 && base_.ends_with('/')) base_.pop_back();
  lists_ = list_source(base_);
}

std::set<std::string> manifest_marks::find() const {
  std::set<std::string> found;
  for (auto const& entry :
       list_manifests(base_, [](std::string const&, error const& failure) { throw failure; })) {
    found.insert(entry.path);
  }
  search everywhere(base_);
  everywhere.below("", found);
  everywhere.below(".blockstore/manifests", found);
  for (auto const& name : list_interrupted(base_)) {
    found.insert(".blockstore/" + interrupted_file(name));
  }
  return found;
}

void manifest_marks::update(work_monitor& monitor) {
  monitor.enter("looking for manifests");
  std::vector<std::pair<std::string, std::uint64_t>> fresh;
  std::uint64_t bytes = 0;
  for (auto const& path : find()) {
    if (without_.contains(path)) continue;
    struct stat status{};
    if (::stat((base_ + "/" + path).c_str(), &status) != 0) {
      auto const failure = disk_error(errno, io_direction::open, "stat", base_ + "/" + path);
      bool const removed = ::lstat((base_ + "/" + path).c_str(), &status) != 0 && errno == ENOENT;
      if (removed) continue;
      throw as_cannot_read(failure);
    }
    auto const changed_ns =
        std::int64_t{status.st_ctim.tv_sec} * 1'000'000'000 + status.st_ctim.tv_nsec;
    auto const size_bytes = static_cast<std::uint64_t>(status.st_size);
    if (!read_.emplace(path, status.st_ino, size_bytes, changed_ns).second) continue;
    fresh.emplace_back(path, size_bytes);
    bytes += size_bytes;
  }
  // The longest first, so that no thread is left alone with it at the end.
  std::sort(fresh.begin(), fresh.end(),
            [](auto const& a, auto const& b) { return a.second > b.second; });
  monitor.enter("reading manifests", fresh.size(), bytes);
  run_parallel(fresh.size(), threads_, [&](std::size_t i) {
    if (monitor.stop) return;
    read(fresh[i].first, monitor);
    ++monitor.done;
    monitor.bytes_done += fresh[i].second;
  });
  blocks_.trim();
}

void manifest_marks::release() {
  blocks_.clear();
  blocks_in_manifests_ = 0;
  read_.clear();
}

// Returns the bits that the block had before.
std::uint8_t manifest_marks::mark(block_id const& id, std::uint8_t by) {
  auto const before = blocks_.add(id, by);
  if (by == of_manifest && (before & of_manifest) == 0) ++blocks_in_manifests_;
  return before;
}

void manifest_marks::read(std::string const& path, work_monitor& monitor) {
  bool const is_whole = path.ends_with(manifest_suffix);
  auto const by = is_whole ? of_manifest : of_interrupted;
  try {
    manifest_reader reader(base_ + "/" + path, lists_,
                           is_whole ? manifest_extent::whole : manifest_extent::interrupted);
    if (reader.has_lists()) {
      read_lists(reader, by, monitor);
      return;
    }
    for (std::uint64_t n = 0; auto const id = reader.next(); ++n) {
      (void)mark(*id, by);
      if (n % limits::manifest_lines_per_hop == 0 && monitor.stop) return;
    }
  } catch (error const& failure) {
    // Deleted since it was found: nobody needs it.
    if (is_gone(failure)) return;
    // What an interrupted dump names is kept to spare it work, not because an image needs it.
    if (is_whole || failure.kind() != severity::corruption) throw;
    if (log_ != nullptr) log_->warning(failure.what());
  }
}

// A list is needed like what it names. Manifests of one disk share most of theirs, and each is read
// once.
void manifest_marks::read_lists(manifest_reader& reader, std::uint8_t by, work_monitor& monitor) {
  auto const full_list = static_cast<std::uint8_t>(by << full_list_shift);
  while (auto const list = reader.next_list()) {
    if (monitor.stop) return;
    bool const can_be_full = list->blocks.value == limits::list_digests_max;
    if ((mark(list->id, by) & full_list) != 0 && can_be_full) continue;
    auto const digests = reader.read_list();
    for (auto const& id : digests) (void)mark(id, by);
    if (digests.size() == limits::list_digests_max) blocks_.add(list->id, full_list);
  }
}

}  // namespace diskdump
