#include "store/lock_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <random>

#include "base/format.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

std::string unique_stem() {
  static std::atomic<std::uint64_t> counter{0};
  std::random_device random;
  return format("{}-{}-{:08x}{:08x}", ::getpid(), counter.fetch_add(1), random(), random());
}

bool lock(int file, int operation) noexcept {
  int done = 0;
  do {
    done = ::flock(file, operation);
  } while (done != 0 && errno == EINTR);
  return done == 0;
}

// Between opening and locking, another process may have taken the file for a stale one and
// removed it; then the lock is on a file without a name and protects nothing.
bool still_there(int file, std::string const& path) noexcept {
  struct stat opened{};
  struct stat named{};
  return ::fstat(file, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

}  // namespace

bool is_unique_stem(std::string_view text) noexcept {
  auto const only = [](std::string_view part, std::string_view of) {
    return !part.empty() && part.find_first_not_of(of) == std::string_view::npos;
  };
  constexpr std::string_view digits = "0123456789";
  auto const first = text.find('-');
  auto const last = text.rfind('-');
  if (first == std::string_view::npos || first == last) return false;
  return only(text.substr(0, first), digits) &&
         only(text.substr(first + 1, last - first - 1), digits) &&
         only(text.substr(last + 1), "0123456789abcdef");
}

lock_file lock_file::create(std::string const& folder, std::string_view suffix,
                            std::string_view text) {
  if (::mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST) {
    throw cannot_write(errno, "mkdir", folder);
  }
  for (;;) {
    auto stem = unique_stem();
    auto path = folder + "/" + stem + std::string(suffix);
    unique_fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!file) {
      if (errno == EEXIST) continue;
      throw cannot_write(errno, "create", path);
    }
    if (!lock(file.get(), LOCK_EX | LOCK_NB)) {
      if (errno == EWOULDBLOCK) continue;  // a cleaner is about to remove it
      int const reason = errno;
      (void)::unlink(path.c_str());
      throw cannot_write(reason, "flock", path);
    }
    if (!still_there(file.get(), path)) continue;
    // The text is for people who look into the folder; a full disk must not fail us here.
    (void)!::write(file.get(), text.data(), text.size());
    return {std::move(file), std::move(path), std::move(stem), true};
  }
}

std::optional<lock_file> lock_file::take_stale(std::string const& path) {
  unique_fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file || !lock(file.get(), LOCK_EX | LOCK_NB) || !still_there(file.get(), path)) {
    return std::nullopt;
  }
  return lock_file(std::move(file), path, {}, true);
}

std::optional<lock_file> lock_file::try_for(std::string const& path) {
  unique_fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!file) throw cannot_write(errno, "create", path);
  if (!lock(file.get(), LOCK_EX | LOCK_NB)) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    throw cannot_write(errno, "flock", path);
  }
  return lock_file(std::move(file), path, {}, false);
}

lock_file lock_file::wait_for(std::string const& path) {
  unique_fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!file) throw cannot_write(errno, "create", path);
  if (!lock(file.get(), LOCK_EX)) throw cannot_write(errno, "flock", path);
  return {std::move(file), path, {}, false};
}

lock_file::~lock_file() {
  if (file_ && remove_at_end_) (void)::unlink(path_.c_str());
}

}  // namespace diskdump
