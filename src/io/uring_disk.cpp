// Disks read and written through a ring of their own.
#include <liburing.h>

#include <cerrno>

#include "base/limits.hpp"
#include "io/disk_file.hpp"
#include "io/ring.hpp"

namespace diskdump {

namespace {

class uring_disk final : public disk {
 public:
  uring_disk(asio::any_io_executor executor, worker_pool& blocking_pool, disk_file& file,
             std::uint32_t queue_depth)
      : ring_(std::move(executor), queue_depth), pool_(blocking_pool), file_(std::move(file)) {
    file_.properties.engine = disk_engine::uring;
  }

  disk_properties const& properties() const noexcept override { return file_.properties; }

  task<std::size_t> read(std::uint64_t offset_bytes, std::span<byte_span const> buffers) override {
    file_.check_read(offset_bytes, buffers);
    buffer_cursor cursor(buffers);
    std::size_t done = 0;
    while (cursor.left_bytes() > 0) {
      auto const at = offset_bytes + done;
      auto const parts = cursor.vectors();
      int const fd = file_.fd.get();
      int const n = co_await transfer(at, io_direction::read, [fd, parts, at](io_uring_sqe& sqe) {
        ::io_uring_prep_readv(&sqe, fd, parts.data(), static_cast<unsigned>(parts.size()), at);
      });
      if (n == 0) break;
      cursor.advance(static_cast<std::size_t>(n));
      done += static_cast<std::size_t>(n);
      // Short reads happen in the middle of a file as well (signals, page cache); with O_DIRECT one
      // that ends off the alignment is the end.
      if (done % file_.properties.alignment_bytes != 0) break;
      if (offset_bytes + done == file_.properties.size_bytes) break;
    }
    co_return done;
  }

  task<> write(std::uint64_t offset_bytes, byte_view bytes) override {
    file_.check_write(offset_bytes, bytes.size());
    std::size_t done = 0;
    while (done < bytes.size()) {
      auto const at = offset_bytes + done;
      auto const rest = bytes.subspan(done);
      // The kernel does not change it.
      iovec part{.iov_base = const_cast<std::byte*>(rest.data()), .iov_len = rest.size()};
      int const fd = file_.fd.get();
      int const n = co_await transfer(at, io_direction::write, [fd, &part, at](io_uring_sqe& sqe) {
        ::io_uring_prep_writev(&sqe, fd, &part, 1, at);
      });
      if (n == 0) throw file_.failed(ENOSPC, io_direction::write, "write").offset(at);
      done += static_cast<std::size_t>(n);
    }
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
  // Completes with the bytes moved; throws `error` with the offset.
  task<int> transfer(std::uint64_t offset_bytes, io_direction direction, ring::prepare fill) {
    for (unsigned tries = 0;; ++tries) {
      int const n = co_await ring_.submit(fill);
      if (n >= 0) co_return n;
      if ((n != -EINTR && n != -EAGAIN) || tries == limits::disk_retries_max) {
        throw file_.failed(-n, direction, direction == io_direction::read ? "read" : "write")
            .offset(offset_bytes);
      }
    }
  }

  ring ring_;
  worker_pool& pool_;
  disk_file file_;
};

}  // namespace

std::unique_ptr<disk> make_uring_disk(asio::any_io_executor executor, worker_pool& blocking_pool,
                                      disk_file& file, std::uint32_t queue_depth) {
  return std::make_unique<uring_disk>(std::move(executor), blocking_pool, file, queue_depth);
}

}  // namespace diskdump
