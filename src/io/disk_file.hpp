// The opened descriptor below the uring and posix disks, and what both do alike: checks, holes,
// zeroing, syncing. Owned by its disk; the blocking calls may be made on any thread.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "io/disk.hpp"
#include "io/io_errc.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

struct disk_file {
  unique_fd fd;
  std::string path;
  disk_properties properties;  // without the engine

  // REQUIRES (asserted): at most limits::disk_buffers_max buffers; alignment as in properties.
  void check_read(std::uint64_t offset_bytes, std::span<byte_span const> buffers) const;
  // Throws out_of_range beyond the end, read_only where it was opened for reading.
  void check_write(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;

  [[nodiscard]] data_range next_data(std::uint64_t offset_bytes) const;
  [[nodiscard]] bool write_zeros(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;
  void sync() const;

  [[nodiscard]] error failed(int errno_value, io_direction direction, std::string_view what) const {
    return disk_error(errno_value, direction, what, path);
  }
};

// As open_disk(), blocking.
[[nodiscard]] disk_file open_disk_file(std::string const& path, disk_open_options const& options);
// As create_file_disk(), blocking.
[[nodiscard]] disk_file create_disk_file(std::string const& path, std::uint64_t size_bytes);

// The two engines. make_uring_disk() throws ring_failed where no ring can be had; `file` is then
// untouched.
[[nodiscard]] std::unique_ptr<disk> make_uring_disk(asio::any_io_executor executor,
                                                    worker_pool& blocking_pool, disk_file& file,
                                                    std::uint32_t queue_depth);
[[nodiscard]] std::unique_ptr<disk> make_posix_disk(worker_pool& blocking_pool, disk_file file,
                                                    std::uint32_t queue_depth,
                                                    asio::any_io_executor executor);

// Walks a list of buffers as parts of them are filled.
class buffer_cursor {
 public:
  explicit buffer_cursor(std::span<byte_span const> buffers);
  [[nodiscard]] std::size_t left_bytes() const noexcept { return left_bytes_; }
  // REQUIRES: bytes <= left_bytes().
  void advance(std::size_t bytes) noexcept;
  // What is left, for readv; valid until advance().
  [[nodiscard]] std::span<iovec> vectors() noexcept { return std::span(vectors_).subspan(first_); }

 private:
  std::vector<iovec> vectors_;
  std::size_t first_ = 0;
  std::size_t left_bytes_ = 0;
};

}  // namespace diskdump
