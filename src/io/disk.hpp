// An image that is read or written by offset: a block device, a file, or a test double. Reads and
// writes are asynchronous and resume on the executor the disk was opened with. One conformance
// suite (tests/unit/io/disk_conformance.hpp) holds for all implementations.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "async/offload.hpp"
#include "async/task.hpp"
#include "base/bytes.hpp"

namespace diskdump {

enum class disk_engine : std::uint8_t { uring, posix, test };
enum class disk_access : std::uint8_t { read, write };

struct disk_properties {
  std::uint64_t size_bytes = 0;
  bool block_device = false;
  bool direct_io = false;             // opened with O_DIRECT: offsets, lengths and memory aligned
  std::uint32_t alignment_bytes = 1;  // of offset, length and memory; 1 where nothing is asked
  std::uint32_t sector_bytes = 512;   // what a bad sector costs
  disk_engine engine = disk_engine::posix;
  std::string identity;  // "serial=… uuid=…", as far as known without help
};

struct data_range {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;  // 0: no data from the asked offset to the end
};

class disk {
 public:
  virtual ~disk() = default;

  [[nodiscard]] virtual disk_properties const& properties() const noexcept = 0;

  // Reads into the buffers in turn, starting at `offset_bytes`; completes with the bytes read:
  // fewer than asked only at the end of the source. Throws `error` (errno, path, offset). The
  // buffers stay alive until it completes. Many at once. Cancellation waits for the kernel to let
  // go of the buffers before it throws.
  // REQUIRES: alignment as in properties(); at most 64 buffers.
  [[nodiscard]] virtual task<std::size_t> read(std::uint64_t offset_bytes,
                                               std::span<byte_span const> buffers) = 0;

  // Writes all of `bytes` at `offset_bytes`, which must lie below size_bytes (out_of_range). Throws
  // `error`. Otherwise as read(); a cancelled write may have been carried out.
  [[nodiscard]] virtual task<> write(std::uint64_t offset_bytes, byte_view bytes) = 0;

  // Zeros a range without writing it where the system can (hole punching, BLKZEROOUT); false where
  // it cannot and the caller writes zeros. On `blocking_pool`; cannot be cancelled once begun.
  [[nodiscard]] virtual task<bool> write_zeros(std::uint64_t offset_bytes,
                                               std::uint64_t length_bytes) = 0;

  // The next range that is not a hole at or after `offset_bytes`; the whole rest where the source
  // cannot tell. A blocking call of microseconds; made on the caller's thread.
  [[nodiscard]] virtual data_range next_data(std::uint64_t offset_bytes) = 0;

  // All bytes whose write() completed before the call are durable when it completes. On
  // `blocking_pool`; cannot be cancelled once begun.
  [[nodiscard]] virtual task<> sync() = 0;
};

enum class engine_choice : std::uint8_t { automatic, posix_only };

struct disk_open_options {
  disk_access access = disk_access::read;
  engine_choice engine = engine_choice::automatic;
  bool direct_io = true;           // for block devices; regular files are always buffered
  std::uint32_t queue_depth = 16;  // requests in flight at most; more wait their turn
};

// Opens a block device or regular file; O_CLOEXEC, O_NOFOLLOW not set (/dev/disk/by-id are links).
// Throws `error` (io_errc, path, remedy) for everything else: absent, a directory, a character
// device, a FIFO (without waiting for its other end), no permission. A block device opened for
// writing is refused while it is in use (refuse_if_in_use, O_EXCL) and stays claimed. The executor
// is single-threaded; `blocking_pool` serves the posix engine; both outlive the disk, which is
// destroyed on the executor's thread, with nothing in flight.
[[nodiscard]] std::unique_ptr<disk> open_disk(asio::any_io_executor executor,
                                              worker_pool& blocking_pool, std::string const& path,
                                              disk_open_options options = {});

// Creates a file of `size_bytes` zero bytes (sparse) for writing; already_exists where the path is
// taken. For a restore, which gives it its final name only when all is written and synced.
[[nodiscard]] std::unique_ptr<disk> create_file_disk(
    asio::any_io_executor executor, worker_pool& blocking_pool, std::string const& path,
    std::uint64_t size_bytes, engine_choice engine = engine_choice::automatic);

// Throws in_use, naming the mount point, swap or holder, where `path` is a block device that is
// mounted, swapped on or held by another device (LVM, RAID, crypt), or has a partition that is.
// Files pass.
void refuse_if_in_use(std::string const& path);

// Whether io_uring works here: sets up a ring and reads once. Cached after the first call. The
// environment variable DISKDUMP_NO_URING=1 makes it false (to test the fallback).
[[nodiscard]] bool uring_available() noexcept;

}  // namespace diskdump
