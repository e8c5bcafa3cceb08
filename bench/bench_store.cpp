// What the loose store costs: put by 1, 4 and 8 threads into a fresh store, the barrier by itself,
// put of blocks that are there, missing() against an index of many rows.
//
//   bench_store DIR [BLOCKS] [ROWS]     DIR is a folder of the file system to measure
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "store/block_store.hpp"
#include "store/index.hpp"

namespace {

using namespace diskdump;

constexpr std::size_t frame_bytes = 64 * limits::KiB;
constexpr std::size_t lookups = 200000;

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of all threads: what remains true on a machine that is busy with other things.
double cpu_seconds() {
  timespec used{};
  (void)::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

struct stopwatch {
  double wall_start = now_seconds();
  double cpu_start = cpu_seconds();
  [[nodiscard]] double wall() const { return now_seconds() - wall_start; }
  [[nodiscard]] double cpu() const { return cpu_seconds() - cpu_start; }
};

block_id random_id(std::mt19937_64& random) {
  block_id id;
  for (std::size_t i = 0; i < id.bytes.size(); i += 8) {
    store_le<std::uint64_t>(id.bytes.data() + i, random());
  }
  return id;
}

std::vector<block_id> random_ids(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<block_id> ids;
  ids.reserve(count);
  for (std::size_t i = 0; i < count; ++i) ids.push_back(random_id(random));
  return ids;
}

std::unique_ptr<block_store> open_at(std::string const& base) {
  store_open_options options;
  options.create_block_bytes = limits::block_bytes_default;
  return open_store(base, options);
}

void put_all(block_store& store, std::vector<block_id> const& ids, unsigned threads, double& wall,
             double& cpu) {
  // The store does not look into a frame that it puts for the first time.
  byte_vector frame(frame_bytes);
  std::mt19937_64 random(1);
  for (auto& byte : frame) byte = static_cast<std::byte>(random());
  std::atomic<std::size_t> next{0};
  stopwatch const watch;
  std::vector<std::thread> workers;
  for (unsigned t = 0; t < threads; ++t) {
    workers.emplace_back([&] {
      for (std::size_t i = 0; (i = next++) < ids.size();) (void)store.put(ids[i], frame);
    });
  }
  for (auto& worker : workers) worker.join();
  wall = watch.wall();
  cpu = watch.cpu();
}

void measure_put(std::string const& base, std::size_t blocks, unsigned threads) {
  auto const store = open_at(base);
  // One less than an epoch, so that the barrier is measured by itself.
  auto const ids = random_ids(std::min(blocks, limits::epoch_blocks_max - 1), threads);
  auto const count = static_cast<double>(ids.size());
  double wall = 0;
  double cpu = 0;
  put_all(*store, ids, threads, wall, cpu);
  fmt::print("put      {} threads: {:6.2f} s {:5.0f} MB/s, {:5.0f} µs each, CPU {:4.0f} µs each; ",
             threads, wall, count * frame_bytes / 1e6 / wall, wall * 1e6 / count,
             cpu * 1e6 / count);
  stopwatch const barrier;
  store->barrier();
  fmt::print("barrier {:5.2f} s, CPU {:.3f} s; ", barrier.wall(), barrier.cpu());
  put_all(*store, ids, threads, wall, cpu);
  fmt::print("again CPU {:4.0f} µs each\n", cpu * 1e6 / count);
}

// Rows without files, so that it does not take a million of them: missing() asks the index alone.
void fill_index(std::string const& base, std::vector<block_id> const& ids) {
  stopwatch const watch;
  std::uint64_t rebuilt = 0;
  store_index index({.path = base + "/.blockstore/blocks.db", .wait_max = limits::index_wait_max},
                    nullptr, rebuilt);
  std::vector<stored_block> batch;
  for (auto const& id : ids) {
    batch.push_back({id, frame_bytes});
    if (batch.size() < limits::epoch_blocks_max && &id != &ids.back()) continue;
    index.insert(batch, [] {});
    batch.clear();
  }
  auto const count = static_cast<double>(ids.size());
  fmt::print(
      "insert   {} rows, an epoch at a time: {:.2f} µs per row, CPU {:.2f}; blocks.db {} MiB\n",
      ids.size(), watch.wall() * 1e6 / count, watch.cpu() * 1e6 / count,
      std::filesystem::file_size(base + "/.blockstore/blocks.db") / limits::MiB);
}

void measure_missing(std::string const& base, std::size_t rows) {
  (void)open_at(base);
  auto const ids = random_ids(rows, 77);
  auto const others = random_ids(lookups, 78);
  fill_index(base, ids);
  auto const store = open_at(base);
  for (std::size_t const batch : {8U, 80U, 4096U}) {
    for (bool const held : {true, false}) {
      auto const& from = held ? ids : others;
      stopwatch const watch;
      for (std::size_t at = 0; at + batch <= lookups; at += batch) {
        (void)store->missing(std::span(from).subspan(at % (from.size() - batch), batch));
      }
      fmt::print("missing  {} rows, {:4} ids a call, {}: {:5.2f} µs per id, CPU {:5.2f}\n", rows,
                 batch, held ? "held  " : "absent", watch.wall() * 1e6 / lookups,
                 watch.cpu() * 1e6 / lookups);
    }
  }
  stopwatch const listing;
  std::size_t listed = 0;
  store->list([&](stored_block const&) { ++listed; });
  fmt::print("list     {} rows: {:.2f} s, CPU {:.2f} s\n", listed, listing.wall(), listing.cpu());
  stopwatch const counting;
  (void)store->stats();
  fmt::print("stats    {:.3f} s, CPU {:.3f} s\n", counting.wall(), counting.cpu());
}

}  // namespace

int main(int count, char** values) {
  if (count < 2) {
    fmt::print("usage: bench_store DIR [BLOCKS] [ROWS]\n");
    return 2;
  }
  std::string const below = values[1];
  auto const blocks = count > 2 ? std::strtoull(values[2], nullptr, 10) : 8192;
  auto const rows = count > 3 ? std::strtoull(values[3], nullptr, 10) : 0;
  std::string base = below + "/bench-store-XXXXXX";
  if (::mkdtemp(base.data()) == nullptr) {
    fmt::print("cannot make a folder in {}\n", below);
    return 1;
  }
  int status = 0;
  try {
    for (unsigned const threads : {1U, 4U, 8U}) {
      measure_put(base + "/put" + std::to_string(threads), blocks, threads);
    }
    if (rows > 0) measure_missing(base + "/missing", rows);
  } catch (std::exception const& failure) {
    fmt::print("{}\n", failure.what());
    status = 1;
  }
  std::error_code ignored;
  std::filesystem::remove_all(base, ignored);
  return status;
}
