// Read throughput of the disk engines: bench_disk PATH [SECONDS_PER_LINE]
//
// Reads PATH from its start, again and again, with so many requests in flight of so many bytes, and
// prints one line per combination. The page cache is as it is: read a file once before for a cached
// run, use a block device for O_DIRECT. The second figure is by the processor time of this process
// and holds on a busy machine as well; what a loop device's kernel thread does is not in it.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <vector>

#include "async/buffer_pool.hpp"
#include "async/offload.hpp"
#include "async/scope.hpp"
#include "base/format.hpp"
#include "io/disk.hpp"

namespace diskdump {

namespace {

using steady = std::chrono::steady_clock;

struct run_state {
  disk& source;
  std::size_t request_bytes;
  steady::time_point end;
  std::uint64_t next_bytes = 0;
  std::uint64_t read_bytes = 0;
};

task<> read_lane(run_state& run, buffer_pool& buffers) {
  auto const slot = co_await buffers.acquire();
  byte_span const buffer = slot.bytes();
  while (steady::now() < run.end) {
    auto const at = run.next_bytes;
    run.next_bytes += run.request_bytes;
    if (run.next_bytes + run.request_bytes > run.source.properties().size_bytes) {
      run.next_bytes = 0;
    }
    run.read_bytes += co_await run.source.read(at, std::span(&buffer, 1));
  }
}

task<> read_all(run_state& run, buffer_pool& buffers, unsigned depth) {
  co_await with_scope([&](scope& lanes) {
    for (unsigned i = 0; i < depth; ++i) lanes.spawn(read_lane(run, buffers));
  });
}

void measure(std::string const& path, engine_choice engine, std::size_t request_bytes,
             unsigned depth, double seconds) {
  asio::io_context loop;
  worker_pool pool(16);  // as many threads as the deepest queue, so that posix is not held back
  disk_open_options options;
  options.engine = engine;
  options.queue_depth = depth;
  auto const source = open_disk(loop.get_executor(), pool, path, options);
  buffer_pool buffers(loop.get_executor(), request_bytes, depth);
  auto const begin = steady::now();
  run_state run{
      *source, request_bytes,
      begin + std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(seconds))};
  std::exception_ptr failure;
  asio::co_spawn(loop, read_all(run, buffers, depth),
                 [&failure](std::exception_ptr e) { failure = e; });
  auto const cpu_begin = std::clock();
  loop.run();
  if (failure) std::rethrow_exception(failure);
  auto const elapsed = std::chrono::duration<double>(steady::now() - begin).count();
  auto const cpu = static_cast<double>(std::clock() - cpu_begin) / CLOCKS_PER_SEC;
  std::printf("%s\n",
              format("{:5} {} {:5} KiB x {:2}: {:7.0f} MB/s, {:7.0f} MB per second of CPU",
                     source->properties().engine == disk_engine::uring ? "uring" : "posix",
                     source->properties().direct_io ? "direct" : "cached", request_bytes / 1024,
                     depth, static_cast<double>(run.read_bytes) / elapsed / 1e6,
                     static_cast<double>(run.read_bytes) / cpu / 1e6)
                  .c_str());
  std::fflush(stdout);
}

}  // namespace

}  // namespace diskdump

int main(int argc, char** argv) {
  using namespace diskdump;
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_disk PATH [SECONDS_PER_LINE]\n");
    return 2;
  }
  double const seconds = argc > 2 ? std::atof(argv[2]) : 1.0;
  try {
    for (auto const engine : {engine_choice::automatic, engine_choice::posix_only}) {
      for (std::size_t const request_bytes : {256 * 1024, 1024 * 1024}) {
        for (unsigned const depth : {1U, 4U, 8U, 16U}) {
          measure(argv[1], engine, request_bytes, depth, seconds);
        }
      }
    }
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_disk: %s\n", e.what());
    return 1;
  }
  return 0;
}
