// Disks read and written with preadv and pwrite on the blocking pool: for kernels and containers
// without io_uring.
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "async/fifo_semaphore.hpp"
#include "base/limits.hpp"
#include "io/disk_file.hpp"

namespace diskdump {

namespace {

class posix_disk final : public disk {
 public:
  posix_disk(worker_pool& blocking_pool, disk_file file, std::uint32_t queue_depth,
             asio::any_io_executor executor)
      : pool_(blocking_pool), file_(std::move(file)), slots_(std::move(executor), queue_depth) {
    file_.properties.engine = disk_engine::posix;
  }

  disk_properties const& properties() const noexcept override { return file_.properties; }

  task<std::size_t> read(std::uint64_t offset_bytes, std::span<byte_span const> buffers) override {
    file_.check_read(offset_bytes, buffers);
    co_await slots_.acquire(1);
    slot const mine{slots_};
    co_return co_await offload(
        pool_, [this, offset_bytes, buffers] { return read_all(offset_bytes, buffers); });
  }

  task<> write(std::uint64_t offset_bytes, byte_view bytes) override {
    file_.check_write(offset_bytes, bytes.size());
    co_await slots_.acquire(1);
    slot const mine{slots_};
    co_await offload(pool_, [this, offset_bytes, bytes] { write_all(offset_bytes, bytes); });
  }

  task<bool> write_zeros(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    co_return co_await offload(pool_, [this, offset_bytes, length_bytes] {
      return file_.write_zeros(offset_bytes, length_bytes);
    });
  }

  data_range next_data(std::uint64_t offset_bytes) override {
    return file_.next_data(offset_bytes);
  }

  task<> sync() override {
    co_await offload(pool_, [this] { file_.sync(); });
  }

 private:
  struct slot {
    fifo_semaphore& slots;
    ~slot() { slots.release(1); }
  };

  [[nodiscard]] std::size_t read_all(std::uint64_t offset_bytes,
                                     std::span<byte_span const> buffers) const {
    buffer_cursor cursor(buffers);
    std::size_t done = 0;
    unsigned tries = 0;
    while (cursor.left_bytes() > 0) {
      auto const at = offset_bytes + done;
      auto const parts = cursor.vectors();
      auto const n = ::preadv(file_.fd.get(), parts.data(), static_cast<int>(parts.size()),
                              static_cast<off_t>(at));
      if (n < 0) {
        if ((errno == EINTR || errno == EAGAIN) && tries++ < limits::disk_retries_max) continue;
        throw file_.failed(errno, io_direction::read, "read").offset(at);
      }
      if (n == 0) break;
      tries = 0;
      cursor.advance(static_cast<std::size_t>(n));
      done += static_cast<std::size_t>(n);
      // As in uring_disk.
      if (done % file_.properties.alignment_bytes != 0) break;
      if (offset_bytes + done == file_.properties.size_bytes) break;
    }
    return done;
  }

  void write_all(std::uint64_t offset_bytes, byte_view bytes) const {
    unsigned tries = 0;
    for (std::size_t done = 0; done < bytes.size();) {
      auto const at = offset_bytes + done;
      auto const n = ::pwrite(file_.fd.get(), bytes.data() + done, bytes.size() - done,
                              static_cast<off_t>(at));
      if (n < 0) {
        if ((errno == EINTR || errno == EAGAIN) && tries++ < limits::disk_retries_max) continue;
        throw file_.failed(errno, io_direction::write, "write").offset(at);
      }
      if (n == 0) throw file_.failed(ENOSPC, io_direction::write, "write").offset(at);
      tries = 0;
      done += static_cast<std::size_t>(n);
    }
  }

  worker_pool& pool_;
  disk_file file_;
  fifo_semaphore slots_;  // so that one disk does not fill the pool's queue
};

}  // namespace

std::unique_ptr<disk> make_posix_disk(worker_pool& blocking_pool, disk_file file,
                                      std::uint32_t queue_depth, asio::any_io_executor executor) {
  return std::make_unique<posix_disk>(blocking_pool, std::move(file), queue_depth,
                                      std::move(executor));
}

}  // namespace diskdump
