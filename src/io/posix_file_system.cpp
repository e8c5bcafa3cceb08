#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/file_system.hpp"
#include "io/io_errc.hpp"
#include "io/posix_append_file.hpp"
#include "io/rename_noreplace.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

namespace {

// mkdir -p below `at`; an existing name that is no directory shows at the next step.
void make_directories_at(int at, std::string const& path, std::string const& shown) {
  for (std::size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    auto const part = path.substr(0, end);
    if (part.empty()) continue;
    if (::mkdirat(at, part.c_str(), 0777) != 0 && errno != EEXIST) {
      throw disk_error(errno, io_direction::write, "mkdir", shown);
    }
  }
}

void write_all(int file, byte_view bytes, std::string const& shown) {
  while (!bytes.empty()) {
    auto const n = ::write(file, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw disk_error(errno, io_direction::write, "write", shown);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

class posix_read_file final : public read_file {
 public:
  posix_read_file(unique_fd file, std::string shown, std::uint64_t size_bytes)
      : file_(std::move(file)), shown_(std::move(shown)), size_bytes_(size_bytes) {}

  std::uint64_t size_bytes() const noexcept override { return size_bytes_; }

  std::size_t read(byte_span into, std::uint64_t offset_bytes) override {
    std::size_t done = 0;
    while (done < into.size()) {
      auto const n = ::pread(file_.get(), into.data() + done, into.size() - done,
                             static_cast<off_t>(offset_bytes + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        throw disk_error(errno, io_direction::read, "pread", shown_).offset(offset_bytes + done);
      }
      if (n == 0) break;  // the end, or it was cut meanwhile
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

 private:
  unique_fd file_;
  std::string shown_;
  std::uint64_t size_bytes_;
};

class posix_file_system final : public file_system {
 public:
  posix_file_system(std::string root, bool create) : root_(std::move(root)) {
    if (create) make_directories_at(AT_FDCWD, root_, root_);
    directory_ = unique_fd(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory_) throw disk_error(errno, io_direction::open, "open", root_);
  }

  bool create_exclusive(std::string const& path, byte_view bytes) override {
    unique_fd const file(open_at(path, O_WRONLY | O_CREAT | O_EXCL));
    if (!file) {
      if (errno == EEXIST) return false;
      throw failed(io_direction::write, "create", path);
    }
    try {
      write_all(file.get(), bytes, shown(path));
    } catch (...) {
      (void)::unlinkat(directory_.get(), path.c_str(), 0);
      throw;
    }
    return true;
  }

  std::unique_ptr<append_file> create_appendable(std::string const& path,
                                                 write_back when) override {
    unique_fd file(open_at(path, O_WRONLY | O_CREAT | O_EXCL));
    if (!file) {
      if (errno == EEXIST) return nullptr;
      throw failed(io_direction::write, "create", path);
    }
    unique_fd direct;
    std::shared_ptr<direct_buffer> buffer;
    if (when == write_back::early && gains_by_direct_writes(file.get())) {
      direct = unique_fd(open_at(path, O_WRONLY | O_DIRECT));
      if (direct) buffer = buffer_of_all();
    }
    return std::make_unique<posix_append_file>(std::move(file), shown(path), when,
                                               std::move(direct), std::move(buffer));
  }

  bool hold_room(std::string const& path, std::uint64_t bytes) override {
    unique_fd const file(open_at(path, O_WRONLY | O_CREAT | O_EXCL));
    if (!file) return false;
    if (allocate_room(file.get(), 0, 0, bytes) == 0) return true;
    (void)::unlinkat(directory_.get(), path.c_str(), 0);
    return false;
  }

  std::uint64_t room_bytes() override {
    struct statvfs status{};
    if (::fstatvfs(directory_.get(), &status) != 0) return 0;
    return std::uint64_t{status.f_bavail} * status.f_frsize;
  }

  void append(std::string const& path, byte_view bytes) override {
    unique_fd const file(open_at(path, O_WRONLY | O_APPEND));
    if (!file) throw failed(io_direction::write, "open", path);
    write_all(file.get(), bytes, shown(path));
  }

  std::unique_ptr<read_file> open_readable(std::string const& path) override {
    // Not blocking on a FIFO that someone put there.
    unique_fd file(open_at(path, O_RDONLY | O_NONBLOCK));
    if (!file) {
      if (errno == ENOENT || errno == ENOTDIR) return nullptr;
      throw failed(io_direction::open, "open", path);
    }
    struct stat status{};
    if (::fstat(file.get(), &status) != 0) throw failed(io_direction::read, "fstat", path);
    if (!S_ISREG(status.st_mode)) {
      throw error(S_ISDIR(status.st_mode) ? io_errc::is_directory : io_errc::unsupported_type,
                  severity::permanent)
          .path(shown(path));
    }
    return std::make_unique<posix_read_file>(std::move(file), shown(path),
                                             static_cast<std::uint64_t>(status.st_size));
  }

  std::optional<byte_vector> read(std::string const& path, std::size_t bytes_max,
                                  std::uint64_t offset_bytes) override {
    auto const file = open_readable(path);
    if (!file) return std::nullopt;
    auto const size_bytes = file->size_bytes();
    auto const rest = offset_bytes < size_bytes ? size_bytes - offset_bytes : 0;
    byte_vector bytes(static_cast<std::size_t>(std::min<std::uint64_t>(rest, bytes_max)));
    bytes.resize(file->read(bytes, offset_bytes));
    return bytes;
  }

  std::string stamp(std::string const& path) override {
    check(path);
    auto const* const name = path.empty() ? "." : path.c_str();
    struct stat status{};
    if (::fstatat(directory_.get(), name, &status, 0) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) return {};
      throw failed(io_direction::read, "stat", path);
    }
    return format("{} {} {}.{} ", status.st_ino, status.st_size, status.st_ctim.tv_sec,
                  status.st_ctim.tv_nsec) +
           handle_of(name);
  }

  bool rename_noreplace(std::string const& from, std::string const& to) override {
    check(from), check(to);
    int const why = rename_noreplace_at(directory_.get(), from.c_str(), to.c_str());
    if (why != 0 && why != EEXIST) {
      throw disk_error(why, io_direction::write, "rename", shown(to));
    }
    return why == 0;
  }

  bool remove(std::string const& path) override {
    check(path);
    if (::unlinkat(directory_.get(), path.c_str(), 0) == 0) return true;
    if (errno == EISDIR && ::unlinkat(directory_.get(), path.c_str(), AT_REMOVEDIR) == 0) {
      return true;
    }
    if (errno == ENOENT || errno == ENOTDIR) return false;
    throw failed(io_direction::write, "unlink", path);
  }

  void make_directories(std::string const& path) override {
    check(path);
    make_directories_at(directory_.get(), path, shown(path));
  }

  std::vector<directory_entry> list_directory(std::string const& path, listing detail) override {
    unique_fd const file(open_at(path, O_RDONLY | O_DIRECTORY));
    if (!file) {
      if (errno == ENOENT) return {};
      throw failed(io_direction::open, "open", path);
    }
    // readdir() would allocate and stat for each of a store's 65,536 folders.
    alignas(dirent64) std::array<char, limits::directory_read_bytes> buffer;
    std::vector<directory_entry> entries;
    for (;;) {
      auto const n = ::getdents64(file.get(), buffer.data(), buffer.size());
      if (n < 0) throw failed(io_direction::read, "getdents", path);
      if (n == 0) return entries;
      for (ssize_t at = 0; at < n;) {
        auto const& found = *reinterpret_cast<dirent64 const*>(buffer.data() + at);
        at += found.d_reclen;
        std::string_view const name(found.d_name);
        if (name == "." || name == "..") continue;
        if (auto entry = entry_of(file.get(), found, detail, path)) {
          entries.push_back(std::move(*entry));
        }
      }
    }
  }

  void sync(sync_scope what, std::string const& path) override {
    if (what == sync_scope::file_system) {
      if (::syncfs(directory_.get()) != 0) throw failed(io_direction::write, "syncfs", "");
      return;
    }
    int const flags = what == sync_scope::directory ? O_RDONLY | O_DIRECTORY : O_RDONLY;
    unique_fd const file(open_at(path, flags));
    if (!file) throw failed(io_direction::write, "open", path);
    if (::fsync(file.get()) != 0) throw failed(io_direction::write, "fsync", path);
  }

 private:
  static void check(std::string const& path) { DISKDUMP_ASSERT(!path.starts_with('/')); }

  [[nodiscard]] int open_at(std::string const& path, int flags) const {
    check(path);
    char const* const name = path.empty() ? "." : path.c_str();
    return ::openat(directory_.get(), name, flags | O_CLOEXEC, 0666);
  }

  // Nothing where the entry was removed meanwhile.
  [[nodiscard]] std::optional<directory_entry> entry_of(int directory, dirent64 const& found,
                                                        listing detail,
                                                        std::string const& path) const {
    directory_entry entry;
    entry.name = found.d_name;
    entry.inode = found.d_ino;
    unsigned type = found.d_type;
    // Some file systems do not say what it is.
    if (detail == listing::sizes || type == DT_UNKNOWN) {
      struct stat status{};
      if (::fstatat(directory, found.d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) return std::nullopt;
        throw failed(io_direction::read, "stat", path + "/" + entry.name);
      }
      type = IFTODT(status.st_mode);
      if (type == DT_REG) entry.size_bytes = static_cast<std::uint64_t>(status.st_size);
    }
    if (type == DT_REG) entry.kind = entry_kind::file;
    if (type == DT_DIR) entry.kind = entry_kind::directory;
    return entry;
  }

  // What the file system itself calls the file. A number that is free again is soon another file's,
  // and clocks of file systems are coarse; a handle has the generation of the number as well.
  // Nothing where there are no handles (overlayfs).
  [[nodiscard]] std::string handle_of(char const* name) const {
    struct {
      file_handle head;
      std::array<char, MAX_HANDLE_SZ> bytes;
    } handle{};
    handle.head.handle_bytes = MAX_HANDLE_SZ;
    int mount = 0;
    if (::name_to_handle_at(directory_.get(), name, &handle.head, &mount, AT_SYMLINK_FOLLOW) != 0) {
      return {};
    }
    return {reinterpret_cast<char const*>(handle.head.f_handle), handle.head.handle_bytes};
  }

  [[nodiscard]] std::string shown(std::string const& path) const {
    return path.empty() ? root_ : root_ + "/" + path;
  }
  [[nodiscard]] error failed(io_direction direction, std::string_view what,
                             std::string const& path) const {
    return disk_error(errno, direction, what, shown(path));
  }

  [[nodiscard]] std::shared_ptr<direct_buffer> buffer_of_all() {
    std::lock_guard const lock(buffer_mutex_);
    if (!buffer_) buffer_ = std::make_shared<direct_buffer>();
    return buffer_;
  }

  std::string root_;
  unique_fd directory_;
  std::mutex buffer_mutex_;
  std::shared_ptr<direct_buffer> buffer_;
};

}  // namespace

std::unique_ptr<file_system> make_posix_file_system(std::string const& root, bool create) {
  return std::make_unique<posix_file_system>(root, create);
}

}  // namespace diskdump
