// preadv and pwrite on the blocking pool: for kernels and containers without io_uring.
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "async/fifo_semaphore.hpp"
#include "base/limits.hpp"
#include "io/disk_file.hpp"

namespace diskdump {

namespace {

std::size_t read_all(disk_file const& file, std::uint64_t offset_bytes,
                     std::span<byte_span const> buffers) {
  buffer_cursor cursor(buffers);
  std::size_t done = 0;
  unsigned tries = 0;
  while (cursor.left_bytes() > 0) {
    auto const at = offset_bytes + done;
    auto const parts = cursor.vectors();
    auto const n = ::preadv(file.fd.get(), parts.data(), static_cast<int>(parts.size()),
                            static_cast<off_t>(at));
    if (n < 0) {
      if ((errno == EINTR || errno == EAGAIN) && tries++ < limits::disk_retries_max) continue;
      throw file.failed(errno, io_direction::read, "read").offset(at);
    }
    if (n == 0) break;
    tries = 0;
    cursor.advance(static_cast<std::size_t>(n));
    done += static_cast<std::size_t>(n);
    if (file.is_read_to_end(offset_bytes, done)) break;
  }
  return done;
}

void write_all(disk_file const& file, std::uint64_t offset_bytes, byte_view bytes) {
  unsigned tries = 0;
  for (std::size_t done = 0; done < bytes.size();) {
    auto const at = offset_bytes + done;
    auto const n =
        ::pwrite(file.fd.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(at));
    if (n < 0) {
      if ((errno == EINTR || errno == EAGAIN) && tries++ < limits::disk_retries_max) continue;
      throw file.failed(errno, io_direction::write, "write").offset(at);
    }
    if (n == 0) throw file.failed(ENOSPC, io_direction::write, "write").offset(at);
    tries = 0;
    done += static_cast<std::size_t>(n);
  }
}

class posix_transfer final : public disk_transfer {
 public:
  posix_transfer(asio::any_io_executor executor, worker_pool& blocking_pool,
                 std::uint32_t queue_depth)
      : pool_(blocking_pool), slots_(std::move(executor), queue_depth) {}

  disk_engine engine() const noexcept override { return disk_engine::posix; }

  task<std::size_t> read(disk_file const& file, std::uint64_t offset_bytes,
                         std::span<byte_span const> buffers) override {
    file.check_read(offset_bytes, buffers);
    co_await slots_.acquire(1);
    slot const mine{slots_};
    co_return co_await offload(
        pool_, [&file, offset_bytes, buffers] { return read_all(file, offset_bytes, buffers); });
  }

  task<> write(disk_file const& file, std::uint64_t offset_bytes, byte_view bytes) override {
    file.check_write(offset_bytes, bytes.size());
    co_await slots_.acquire(1);
    slot const mine{slots_};
    co_await offload(pool_, [&file, offset_bytes, bytes] { write_all(file, offset_bytes, bytes); });
  }

 private:
  struct slot {
    fifo_semaphore& slots;
    ~slot() { slots.release(1); }
  };

  worker_pool& pool_;
  fifo_semaphore slots_;  // so that one disk does not fill the pool's queue
};

}  // namespace

std::unique_ptr<disk_transfer> make_posix_transfer(asio::any_io_executor executor,
                                                   worker_pool& blocking_pool,
                                                   std::uint32_t queue_depth) {
  return std::make_unique<posix_transfer>(std::move(executor), blocking_pool, queue_depth);
}

}  // namespace diskdump
