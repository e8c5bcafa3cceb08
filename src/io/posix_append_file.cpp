#include "io/posix_append_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/limits.hpp"
#include "io/io_errc.hpp"

namespace diskdump {

int allocate_room(int file, int mode, std::uint64_t offset_bytes, std::uint64_t bytes) noexcept {
  int result = 0;
  do {
    result = ::fallocate(file, mode, static_cast<off_t>(offset_bytes), static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

posix_append_file::~posix_append_file() {
  // Cuts nothing but what lies behind the end.
  struct stat status{};
  if (reserved_bytes_ > size_bytes_ && ::fstat(file_.get(), &status) == 0) {
    (void)!::ftruncate(file_.get(), status.st_size);
  }
}

void posix_append_file::reserve(std::uint64_t size_bytes) {
  if (size_bytes <= reserved_bytes_) return;
  int const why = allocate_room(file_.get(), FALLOC_FL_KEEP_SIZE, reserved_bytes_,
                                size_bytes - reserved_bytes_);
  if (why == ENOSPC || why == EDQUOT) {
    throw disk_error(why, io_direction::write, "fallocate", shown_);
  }
  if (why == 0) reserved_bytes_ = size_bytes;
}

void posix_append_file::append(byte_view bytes) {
  bool const early =
      when_ == write_back::early && bytes.size() >= limits::early_write_back_bytes_min;
  if (early && direct_) {
    // The pages that the piece shares with its neighbours go through the cache.
    auto const head = (limits::direct_write_alignment_bytes -
                       size_bytes_ % limits::direct_write_alignment_bytes) %
                      limits::direct_write_alignment_bytes;
    write_buffered(bytes.first(head));
    bytes = bytes.subspan(head);
    bytes = bytes.subspan(write_direct(bytes));
  }
  auto const begin = size_bytes_;
  write_buffered(bytes);
  // Where a file system cannot, sync() does it all; failures are reported there, too.
  if (early && bytes.size() >= limits::direct_write_alignment_bytes) {
    (void)::sync_file_range(file_.get(), static_cast<off64_t>(begin),
                            static_cast<off64_t>(bytes.size()), SYNC_FILE_RANGE_WRITE);
  }
}

void posix_append_file::write_buffered(byte_view bytes) {
  while (!bytes.empty()) {
    auto const n =
        ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(size_bytes_));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw disk_error(errno, io_direction::write, "write", shown_);
    size_bytes_ += static_cast<std::uint64_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

// Returns how much of it was written: the whole pages, or less where the file system does not take
// them so after all.
std::size_t posix_append_file::write_direct(byte_view bytes) {
  std::lock_guard const one_at_a_time(buffer_->mutex);
  auto const buffer = buffer_->bytes();
  std::size_t done = 0;
  while (bytes.size() - done >= limits::direct_write_alignment_bytes) {
    auto const rest = bytes.size() - done;
    auto const piece = std::min(buffer.size(), rest / limits::direct_write_alignment_bytes *
                                                   limits::direct_write_alignment_bytes);
    std::memcpy(buffer.data(), bytes.data() + done, piece);
    auto const n = ::pwrite(direct_.get(), buffer.data(), piece, static_cast<off_t>(size_bytes_));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {
      direct_.reset();  // its sectors are larger, say
      return done;
    }
    if (n < 0) throw disk_error(errno, io_direction::write, "write", shown_);
    size_bytes_ += static_cast<std::uint64_t>(n);
    done += static_cast<std::size_t>(n);
    // A part of a page: what is wrong shows when the rest is written.
    if (static_cast<std::size_t>(n) % limits::direct_write_alignment_bytes != 0) return done;
  }
  return done;
}

void posix_append_file::sync() {
  if (::fdatasync(file_.get()) != 0) {
    throw disk_error(errno, io_direction::write, "fdatasync", shown_);
  }
}

}  // namespace diskdump
