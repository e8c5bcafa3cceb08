#include "store/manifest_marks.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/io_errc.hpp"
#include "store/interrupted.hpp"
#include "store/manifest.hpp"
#include "store/manifest_name.hpp"
#include "store/run_parallel.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view magic = "# diskdump manifest ";

std::uint64_t device_of(std::string const& path) noexcept {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? status.st_dev : 0;
}

// Files that other programs call so are no business of ours.
bool looks_like_manifest(std::string const& path) {
  std::ifstream file(path, std::ios::binary);
  std::string start(magic.size(), '\0');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  return file.gcount() == static_cast<std::streamsize>(magic.size()) && start == magic;
}

// All manifests below `folder`, which is relative to DIR, wherever they lie.
class search {
 public:
  search(std::string const& base, log_sink* log) : base_(base), log_(log) {
    device_ = device_of(base);
  }

  void below(std::string const& folder, std::set<std::string>& found) {
    auto const root = folder.empty() ? base_ : base_ + "/" + folder;
    std::error_code failed;
    fs::recursive_directory_iterator at(root, failed);
    if (failed) {
      pass_over(root, failed);
      return;
    }
    for (fs::recursive_directory_iterator const end; at != end;) {
      if (++entries_ > limits::manifest_search_entries_max) throw too_many();
      look_at(at, found);
      auto const here = at->path().string();
      at.increment(failed);
      if (failed) {
        // The iterator is at its end now; what it would still have found is not known.
        throw error(store_errc::cannot_read, severity::permanent)
            .path(here)
            .cause(format("this folder cannot be searched for manifests: {}", failed.message()))
            .remedy("make it readable, or give the store a folder of its own");
      }
    }
  }

 private:
  void look_at(fs::recursive_directory_iterator& at, std::set<std::string>& found) {
    auto const path = at->path().string();
    std::error_code failed;
    if (at->is_symlink(failed)) return;  // what the layouts reach through links is found by them
    if (at->is_directory(failed)) {
      bool const elsewhere = device_of(path) != device_;
      bool const own = path == base_ + "/.blockstore";
      bool const deep = at.depth() >= static_cast<int>(limits::manifest_search_depth_max);
      if (elsewhere || own || deep) at.disable_recursion_pending();
      if (!elsewhere && !own && !deep && ::access(path.c_str(), R_OK | X_OK) != 0) {
        at.disable_recursion_pending();
        pass_over(path, std::error_code(errno, std::generic_category()));
      }
      return;
    }
    if (path.ends_with(manifest_suffix) && at->is_regular_file(failed) &&
        looks_like_manifest(path)) {
      found.insert(path.substr(base_.size() + 1));
    }
  }

  void pass_over(std::string const& path, std::error_code const& failed) {
    if (failed == std::errc::no_such_file_or_directory || log_ == nullptr) return;
    log_->warning(format("{}: not searched for manifests: {}", path, failed.message()));
  }

  [[nodiscard]] error too_many() const {
    return error(store_errc::cannot_read, severity::permanent)
        .path(base_)
        .cause(format("it holds more than {} files beside the store",
                      limits::manifest_search_entries_max))
        .remedy("give the store a folder of its own");
  }

  std::string const& base_;
  log_sink* log_;
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
  search everywhere(base_, log_);
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
      if (errno == ENOENT) continue;  // deleted meanwhile
      throw disk_error(errno, io_direction::open, "stat", base_ + "/" + path);
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
}

void manifest_marks::read(std::string const& path, work_monitor& monitor) {
  try {
    manifest_reader reader(
        base_ + "/" + path, lists_,
        path.ends_with(manifest_suffix) ? manifest_extent::whole : manifest_extent::interrupted);
    if (reader.has_lists()) {
      read_lists(reader, monitor);
      return;
    }
    for (std::uint64_t n = 0; auto const id = reader.next(); ++n) {
      blocks_.add(*id);
      if (n % limits::manifest_lines_per_hop == 0 && monitor.stop) return;
    }
  } catch (error const& failure) {
    // Deleted since it was found: nobody needs it.
    if (is_gone(failure)) return;
    // What an interrupted dump names is kept to spare it work, not because an image needs it.
    if (path.ends_with(manifest_suffix) || failure.kind() != severity::corruption) throw;
    if (log_ != nullptr) log_->warning(failure.what());
  }
}

// A list is needed like what it names. Manifests of one disk share most of theirs, and each is read
// once.
void manifest_marks::read_lists(manifest_reader& reader, work_monitor& monitor) {
  while (auto const list = reader.next_list()) {
    if (monitor.stop) return;
    bool const can_be_full = list->blocks.value == limits::list_digests_max;
    if ((blocks_.add(list->id, named) & full_list) != 0 && can_be_full) continue;
    auto const digests = reader.read_list();
    for (auto const& id : digests) blocks_.add(id, named);
    if (digests.size() == limits::list_digests_max) blocks_.add(list->id, full_list);
  }
}

}  // namespace diskdump
