#include "bench/folders.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "base/format.hpp"
#include "bench/bench_errc.hpp"
#include "io/io_errc.hpp"
#include "io/system_file.hpp"

namespace diskdump {

namespace fs = std::filesystem;

std::string_view sentence(bench_errc e) noexcept {
  switch (e) {
    case bench_errc::folder_not_empty:
      return "the folder is not empty";
    case bench_errc::folder_busy:
      return "another benchmark is at work in the folder";
    case bench_errc::no_room:
      return "there is not enough room for the benchmark";
    case bench_errc::wrong_counts:
      return "the dump did not count the blocks that were made";
    case bench_errc::wrong_image:
      return "what was restored is not what was dumped";
    case bench_errc::unsuitable_source:
      return "the source cannot be benchmarked";
  }
  return "unknown error of a benchmark";
}

namespace {

bool is_same_folder(int opened, std::string const& path) noexcept {
  struct stat there{};
  struct stat ours{};
  return ::stat(path.c_str(), &there) == 0 && ::fstat(opened, &ours) == 0 &&
         there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
}

void check_is_empty(std::string const& path) {
  std::error_code failed;
  fs::directory_iterator const entries(path, failed);
  if (failed) throw disk_error(failed.value(), io_direction::read, "opendir", path);
  if (entries == fs::directory_iterator()) return;
  throw error(bench_errc::folder_not_empty, severity::permanent)
      .path(path)
      .cause(fs::exists(path + "/.blockstore", failed)
                 ? "it holds a store, and a benchmark empties its folder at the end"
                 : "a benchmark empties its folder at the end")
      .remedy("name a folder that is empty or not there");
}

}  // namespace

store_folder::store_folder(std::string path, bool keep) : path_(std::move(path)), keep_(keep) {
  made_ = ::mkdir(path_.c_str(), 0777) == 0;
  if (!made_ && errno != EEXIST) throw disk_error(errno, io_direction::write, "mkdir", path_);
  folder_ = unique_fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_) throw disk_error(errno, io_direction::open, "open", path_);
  if (::flock(folder_.get(), LOCK_EX | LOCK_NB) != 0) {
    throw error(bench_errc::folder_busy, severity::permanent)
        .path(path_)
        .remedy("wait for it to end, or name another folder");
  }
  check_is_empty(path_);
  // From here on what is in the folder is ours.
}

void store_folder::empty() noexcept {
  if (keep_ || !folder_ || !is_same_folder(folder_.get(), path_)) return;
  std::error_code ignored;
  for (auto const& entry : fs::directory_iterator(path_, ignored)) {
    fs::remove_all(entry.path(), ignored);
  }
  if (made_) ::rmdir(path_.c_str());
}

store_folder::usage store_folder::count() const {
  usage sum;
  std::error_code ignored;
  auto const options = fs::directory_options::skip_permission_denied;
  for (auto at = fs::recursive_directory_iterator(path_, options, ignored);
       at != fs::recursive_directory_iterator(); at.increment(ignored)) {
    struct stat status{};
    if (::lstat(at->path().c_str(), &status) != 0) continue;
    if (S_ISREG(status.st_mode)) ++sum.files;
    constexpr std::uint64_t stat_block_bytes = 512;  // stat(2)
    sum.bytes += static_cast<std::uint64_t>(status.st_blocks) * stat_block_bytes;
  }
  return sum;
}

image_folder::image_folder(std::string const& below) : path_(below + "/diskdump-bench-XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr) {
    throw disk_error(errno, io_direction::write, "mkdtemp", below);
  }
}

image_folder::~image_folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::uint64_t room_bytes(std::string const& folder) {
  std::error_code unknown;
  auto const space = fs::space(folder, unknown);
  return unknown ? 0 : space.available;
}

std::uint64_t free_memory_bytes() {
  auto const text = read_system_file("/proc/meminfo");
  constexpr std::string_view key = "MemAvailable:";
  auto const at = text.find(key);
  if (at == std::string::npos) return 0;
  auto const digits = text.find_first_of("0123456789", at);
  std::uint64_t kib = 0;
  if (digits != std::string::npos) {
    std::from_chars(text.data() + digits, text.data() + text.size(), kib);
  }
  constexpr std::uint64_t kib_bytes = 1024;
  return kib * kib_bytes;
}

void check_room(std::string const& path, std::uint64_t needed_bytes, std::string_view remedy) {
  auto const room = room_bytes(path);
  if (room == 0 || needed_bytes <= room) return;
  throw error(bench_errc::no_room, severity::permanent)
      .path(path)
      .cause(format("{} bytes are needed, {} are free", needed_bytes, room))
      .remedy(remedy);
}

}  // namespace diskdump
