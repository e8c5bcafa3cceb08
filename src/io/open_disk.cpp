#include "base/assert.hpp"
#include "base/limits.hpp"
#include "io/disk.hpp"
#include "io/disk_file.hpp"

namespace diskdump {

namespace {

std::unique_ptr<disk> make_disk(asio::any_io_executor executor, worker_pool& blocking_pool,
                                disk_file file, engine_choice engine, std::uint32_t queue_depth) {
  if (engine == engine_choice::automatic && uring_available()) {
    try {
      return make_uring_disk(executor, blocking_pool, file, queue_depth);
    } catch (error const& e) {
      // One ring more than the limits on locked memory or descriptors allow.
      if (!(e.code() == io_errc::ring_failed)) throw;
    }
  }
  return make_posix_disk(blocking_pool, std::move(file), queue_depth, std::move(executor));
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
