// The opened descriptor below a disk, with what needs no engine: checks, holes, zeroing, syncing.
// Owned by its disk; the blocking calls may be made on any thread. And the two engines, which only
// move bytes.
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
  disk_properties properties;  // the engine is set by the disk

  // REQUIRES (asserted): at most limits::disk_buffers_max buffers; alignment as in properties.
  void check_read(std::uint64_t offset_bytes, std::span<byte_span const> buffers) const;
  // Throws out_of_range beyond the end, read_only where it was opened for reading.
  void check_write(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;

  // Whether a read at `offset_bytes` that has brought `done_bytes` of what it was asked for is at
  // the end of the source, as far as can be told without asking for more.
  [[nodiscard]] bool is_read_to_end(std::uint64_t offset_bytes, std::size_t done_bytes) const;

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

// What the engines do differently. The calls are those of `disk`, with the file of the disk that
// owns the engine.
class disk_transfer {
 public:
  virtual ~disk_transfer() = default;
  [[nodiscard]] virtual disk_engine engine() const noexcept = 0;
  [[nodiscard]] virtual task<std::size_t> read(disk_file const& file, std::uint64_t offset_bytes,
                                               std::span<byte_span const> buffers) = 0;
  [[nodiscard]] virtual task<> write(disk_file const& file, std::uint64_t offset_bytes,
                                     byte_view bytes) = 0;
};
// Throws ring_failed where no ring can be had.
[[nodiscard]] std::unique_ptr<disk_transfer> make_uring_transfer(asio::any_io_executor executor,
                                                                 std::uint32_t queue_depth);
[[nodiscard]] std::unique_ptr<disk_transfer> make_posix_transfer(asio::any_io_executor executor,
                                                                 worker_pool& blocking_pool,
                                                                 std::uint32_t queue_depth);

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
