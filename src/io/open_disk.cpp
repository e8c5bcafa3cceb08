#include "base/assert.hpp"
#include "base/limits.hpp"
#include "io/disk.hpp"
#include "io/disk_file.hpp"

namespace diskdump {

namespace {

// A block device or a file, whichever engine moves its bytes.
class file_disk final : public disk {
 public:
  file_disk(disk_file file, std::unique_ptr<disk_transfer> transfer, worker_pool& blocking_pool)
      : file_(std::move(file)), transfer_(std::move(transfer)), pool_(blocking_pool) {
    file_.properties.engine = transfer_->engine();
  }

  disk_properties const& properties() const noexcept override { return file_.properties; }

  task<std::size_t> read(std::uint64_t offset_bytes, std::span<byte_span const> buffers) override {
    return transfer_->read(file_, offset_bytes, buffers);
  }
  task<> write(std::uint64_t offset_bytes, byte_view bytes) override {
    return transfer_->write(file_, offset_bytes, bytes);
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
  disk_file file_;
  std::unique_ptr<disk_transfer> transfer_;
  worker_pool& pool_;
};

std::unique_ptr<disk_transfer> make_transfer(asio::any_io_executor executor,
                                             worker_pool& blocking_pool, engine_choice engine,
                                             std::uint32_t queue_depth) {
  if (engine == engine_choice::automatic && uring_available()) {
    try {
      return make_uring_transfer(executor, queue_depth);
    } catch (error const& e) {
      // One ring more than the limits on locked memory or descriptors allow.
      if (!(e.code() == io_errc::ring_failed)) throw;
    }
  }
  return make_posix_transfer(std::move(executor), blocking_pool, queue_depth);
}

std::unique_ptr<disk> make_disk(asio::any_io_executor executor, worker_pool& blocking_pool,
                                disk_file file, engine_choice engine, std::uint32_t queue_depth) {
  return std::make_unique<file_disk>(
      std::move(file), make_transfer(std::move(executor), blocking_pool, engine, queue_depth),
      blocking_pool);
}

}  // namespace

std::unique_ptr<disk> open_disk(asio::any_io_executor executor, worker_pool& blocking_pool,
                                std::string const& path, disk_open_options options) {
  DISKDUMP_ASSERT(options.queue_depth > 0 && options.queue_depth <= limits::disk_queue_depth_max);
  return make_disk(std::move(executor), blocking_pool, open_disk_file(path, options),
                   options.engine, options.queue_depth);
}

std::unique_ptr<disk> create_file_disk(asio::any_io_executor executor, worker_pool& blocking_pool,
                                       std::string const& path, std::uint64_t size_bytes,
                                       engine_choice engine) {
  return make_disk(std::move(executor), blocking_pool, create_disk_file(path, size_bytes), engine,
                   disk_open_options{}.queue_depth);
}

}  // namespace diskdump
