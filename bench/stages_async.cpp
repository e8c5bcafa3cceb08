// Stages that hand something over: between coroutines, to another thread and back, from a disk.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <thread>

#include "async/buffer_pool.hpp"
#include "async/channel.hpp"
#include "async/offload.hpp"
#include "async/scope.hpp"
#include "base/limits.hpp"
#include "io/disk.hpp"
#include "stage_list.hpp"

namespace diskdump {

namespace {

constexpr std::size_t hops = 100'000;
constexpr std::size_t channel_items = 1'000'000;
constexpr std::size_t in_flight = 8;
constexpr std::size_t read_bytes = limits::MiB;
constexpr std::size_t file_bytes = 512 * limits::MiB;
constexpr std::size_t alignment_bytes = 4096;

task<> fill(sender<std::size_t> out) {
  for (std::size_t i = 0; i < channel_items; ++i) co_await out.send(i);
  out.finish();
}

task<> drain(receiver<std::size_t> in, std::size_t& got) {
  while (auto const item = co_await in.receive()) ++got;
}

task<> hop(worker_pool& pool, std::size_t& got) {
  for (std::size_t i = 0; i < hops; ++i) {
    got += co_await offload(pool, [] { return std::size_t{1}; });
  }
}

task<> hop_ahead(worker_pool& pool, std::size_t& got) {
  auto const executor = co_await asio::this_coro::executor;
  std::deque<job<std::size_t>> ahead;
  for (std::size_t i = 0; i < hops + in_flight; ++i) {
    if (i < hops) ahead.push_back(launch(pool, executor, [] { return std::size_t{1}; }));
    if (i < in_flight) continue;
    got += co_await ahead.front().result();
    ahead.pop_front();
  }
}

void run_channel() {
  std::size_t got = 0;
  asio::io_context loop(1);
  scope children(loop.get_executor());
  auto [out, in] = make_channel<std::size_t>(loop.get_executor(), in_flight);
  children.spawn(fill(std::move(out)));
  children.spawn(drain(std::move(in), got));
  loop.run();
  keep(got == channel_items);
}

void run_hops(bool ahead) {
  std::size_t got = 0;
  worker_pool pool(1);
  asio::io_context loop(1);
  scope children(loop.get_executor());
  children.spawn(ahead ? hop_ahead(pool, got) : hop(pool, got));
  loop.run();
  keep(got == hops);
}

// Two threads that wake each other by the kernel: what a hop there and back takes at least.
void run_eventfds() {
  int const there = ::eventfd(0, 0);
  int const back = ::eventfd(0, 0);
  auto const pass = [](int from, int to) {
    std::uint64_t one = 1;
    keep(::read(from, &one, sizeof one) == sizeof one);
    keep(::write(to, &one, sizeof one) == sizeof one);
  };
  std::thread other([&] {
    for (std::size_t i = 0; i < hops; ++i) pass(there, back);
  });
  std::uint64_t one = 1;
  keep(::write(there, &one, sizeof one) == sizeof one);
  for (std::size_t i = 1; i < hops; ++i) pass(back, there);
  keep(::read(back, &one, sizeof one) == sizeof one);
  other.join();
  ::close(there);
  ::close(back);
}

void run_deque() {
  std::deque<std::size_t> items(in_flight);
  std::size_t got = 0;
  for (std::size_t i = 0; i < channel_items; ++i) {
    items.push_back(i);
    got += items.front() + 1;
    items.pop_front();
  }
  keep(got > 0);
}

void make_file(std::string const& path) {
  byte_vector piece(read_bytes);
  std::mt19937_64 random(4);
  for (auto& byte : piece) byte = static_cast<std::byte>(random());
  int const file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  for (std::size_t at = 0; at < file_bytes; at += read_bytes) {
    keep(::write(file, piece.data(), piece.size()) == static_cast<ssize_t>(piece.size()));
  }
  keep(::fdatasync(file) == 0);
  ::close(file);
}

// A file is read through the page cache by diskdump; what is in it does not count.
void forget(std::string const& path) {
  int const file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  keep(::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0);
  ::close(file);
}

void read_by_threads(std::string const& path, int flags) {
  forget(path);
  int const file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  keep(file >= 0);
  std::vector<std::thread> threads;
  std::atomic<std::size_t> next{0};
  for (std::size_t i = 0; i < in_flight; ++i) {
    threads.emplace_back([&] {
      std::unique_ptr<void, decltype(&std::free)> const buffer(
          std::aligned_alloc(alignment_bytes, read_bytes), &std::free);
      for (std::size_t at = 0; (at = next.fetch_add(read_bytes)) < file_bytes;) {
        keep(::pread(file, buffer.get(), read_bytes, static_cast<off_t>(at)) > 0);
      }
    });
  }
  for (auto& one : threads) one.join();
  ::close(file);
}

task<> read_lane(disk& source, buffer_pool& buffers, std::uint64_t& next) {
  auto const slot = co_await buffers.acquire();
  byte_span const buffer = slot.bytes();
  while (next < file_bytes) {
    auto const at = next;
    next += read_bytes;
    auto const got = co_await source.read(at, std::span(&buffer, 1));
    keep(got == read_bytes);
  }
}

void read_by_engine(std::string const& path) {
  forget(path);
  worker_pool pool(in_flight);
  asio::io_context loop(1);
  disk_open_options options;
  options.queue_depth = in_flight;
  auto const source = open_disk(loop.get_executor(), pool, path, options);
  buffer_pool buffers(loop.get_executor(), read_bytes, in_flight);
  std::uint64_t next = 0;
  scope lanes(loop.get_executor());
  for (std::size_t i = 0; i < in_flight; ++i) lanes.spawn(read_lane(*source, buffers, next));
  loop.run();
}

}  // namespace

void add_hop_stages(stage_list& stages) {
  stages.add("std::deque, push and pop", "", channel_items, 0, run_deque);
  stages.add("channel hop", "std::deque, push and pop", channel_items, 0, run_channel);
  stages.add("eventfd, there and back", "", hops, 0, run_eventfds);
  stages.add("worker hop", "eventfd, there and back", hops, 0, [] { run_hops(false); });
  stages.add("worker hop, 8 in flight", "eventfd, there and back", hops, 0, [] { run_hops(true); });
}

void add_disk_stages(stage_list& stages, std::string const& folder) {
  auto const path = folder + "/file";
  make_file(path);
  auto const count = file_bytes / read_bytes;
  stages.add_wall("O_DIRECT, 8 threads", "", count, read_bytes,
                  [path] { read_by_threads(path, O_DIRECT); });
  stages.add_wall("through the page cache, 8 threads", "O_DIRECT, 8 threads", count, read_bytes,
                  [path] { read_by_threads(path, 0); });
  stages.add_wall("disk read of a file, 8 in flight", "O_DIRECT, 8 threads", count, read_bytes,
                  [path] { read_by_engine(path); });
}

}  // namespace diskdump
