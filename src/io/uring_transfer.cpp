// Each disk reads and writes through a ring of its own.
#include <liburing.h>

#include <cerrno>

#include "base/limits.hpp"
#include "io/disk_file.hpp"
#include "io/ring.hpp"

namespace diskdump {

namespace {

class uring_transfer final : public disk_transfer {
 public:
  uring_transfer(asio::any_io_executor executor, std::uint32_t queue_depth)
      : ring_(std::move(executor), queue_depth) {}

  disk_engine engine() const noexcept override { return disk_engine::uring; }

  task<std::size_t> read(disk_file const& file, std::uint64_t offset_bytes,
                         std::span<byte_span const> buffers) override {
    file.check_read(offset_bytes, buffers);
    buffer_cursor cursor(buffers);
    std::size_t done = 0;
    while (cursor.left_bytes() > 0) {
      auto const at = offset_bytes + done;
      auto const parts = cursor.vectors();
      int const fd = file.fd.get();
      int const n =
          co_await submit(file, at, io_direction::read, [fd, parts, at](io_uring_sqe& sqe) {
            ::io_uring_prep_readv(&sqe, fd, parts.data(), static_cast<unsigned>(parts.size()), at);
          });
      if (n == 0) break;
      cursor.advance(static_cast<std::size_t>(n));
      done += static_cast<std::size_t>(n);
      if (file.is_read_to_end(offset_bytes, done)) break;
    }
    co_return done;
  }

  task<> write(disk_file const& file, std::uint64_t offset_bytes, byte_view bytes) override {
    file.check_write(offset_bytes, bytes.size());
    std::size_t done = 0;
    while (done < bytes.size()) {
      auto const at = offset_bytes + done;
      auto const rest = bytes.subspan(done);
      // The kernel does not change it.
      iovec part{.iov_base = const_cast<std::byte*>(rest.data()), .iov_len = rest.size()};
      int const fd = file.fd.get();
      int const n = co_await submit(
          file, at, io_direction::write,
          [fd, &part, at](io_uring_sqe& sqe) { ::io_uring_prep_writev(&sqe, fd, &part, 1, at); });
      if (n == 0) throw file.failed(ENOSPC, io_direction::write, "write").offset(at);
      done += static_cast<std::size_t>(n);
    }
  }

 private:
  // Completes with the bytes moved; throws `error` with the offset.
  task<int> submit(disk_file const& file, std::uint64_t offset_bytes, io_direction direction,
                   ring::prepare fill) {
    for (unsigned tries = 0;; ++tries) {
      int const n = co_await ring_.submit(fill);
      if (n >= 0) co_return n;
      if ((n != -EINTR && n != -EAGAIN) || tries == limits::disk_retries_max) {
        throw file.failed(-n, direction, direction == io_direction::read ? "read" : "write")
            .offset(offset_bytes);
      }
    }
  }

  ring ring_;
};

}  // namespace

std::unique_ptr<disk_transfer> make_uring_transfer(asio::any_io_executor executor,
                                                   std::uint32_t queue_depth) {
  return std::make_unique<uring_transfer>(std::move(executor), queue_depth);
}

}  // namespace diskdump
