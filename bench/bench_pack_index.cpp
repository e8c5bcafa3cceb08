// What the size of the index costs those who look after a store of packs: rows in the order of
// their places (verify), and the removal of packs that nothing needs (gc) beside a dump that wants
// to write rows. The blocks do not exist: packs are empty files of the right size.
//
//   bench_pack_index DIR [ROWS] [ROWS_PER_PACK]     half as many packs again are not in use
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "store/block_shelf.hpp"
#include "store/index.hpp"
#include "store/pack_format.hpp"
#include "store/pack_writer.hpp"

namespace {

using namespace diskdump;
namespace fs = std::filesystem;
using seconds = std::chrono::duration<double>;

double seconds_of(std::function<void()> const& action) {
  auto const start = std::chrono::steady_clock::now();
  action();
  return seconds(std::chrono::steady_clock::now() - start).count();
}

double cpu_seconds() {
  rusage use{};
  (void)::getrusage(RUSAGE_SELF, &use);
  auto const of = [](timeval const& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return of(use.ru_utime) + of(use.ru_stime);
}

// Digests are as good as random; this is, too (splitmix64).
block_id id_of(std::uint64_t number) {
  block_id id;
  auto state = number;
  for (std::size_t i = 0; i < id.bytes.size(); i += 8) {
    auto z = (state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    store_le<std::uint64_t>(id.bytes.data() + i, z ^ (z >> 31));
  }
  return id;
}

struct bench {
  std::string blockstore;
  std::uint64_t rows = 4'000'000;
  std::uint64_t rows_per_pack = 512;
  std::uint64_t packs = 0;
  std::unique_ptr<file_system> files;
  std::unique_ptr<store_index> index;

  [[nodiscard]] std::unique_ptr<store_index> open() const {
    std::uint64_t rebuilt = 0;
    return std::make_unique<store_index>(
        index_options{.path = blockstore + "/packs.db",
                      .format = store_format::pack,
                      .wait_max = std::chrono::minutes(10)},
        [](auto const&) {}, rebuilt);
  }

  void build() {
    fs::create_directories(blockstore + "/packs");
    files = make_posix_file_system(blockstore);
    packs = rows / rows_per_pack;
    auto const header = encode_pack_header({"1-2-3"});
    for (std::uint64_t i = 1; i <= packs + packs / 2; ++i) {
      auto const path = pack_path(store_layout(""), static_cast<std::uint32_t>(i));
      (void)files->create_exclusive(path, header);
      fs::resize_file(blockstore + "/" + path, limits::pack_bytes);
    }
    index = open();
    std::vector<double> times;
    std::vector<stored_block> step;
    auto const stored_bytes = limits::pack_bytes / rows_per_pack - limits::pack_entry_header_bytes;
    for (std::uint64_t i = 0; i < packs * rows_per_pack; ++i) {
      auto const at = i % rows_per_pack * (limits::pack_bytes / rows_per_pack);
      step.push_back(
          {id_of(i),
           stored_bytes,
           {static_cast<std::uint32_t>(i / rows_per_pack + 1), static_cast<std::uint32_t>(at)}});
      if (step.size() < limits::epoch_blocks_max) continue;
      times.push_back(seconds_of([&] { index->insert(step, [] {}); }));
      step.clear();
    }
    if (!step.empty()) index->insert(step, [] {});
    std::sort(times.begin(), times.end());
    std::printf("%llu rows, %llu packs: %.1f us a row at the median of the epochs\n",
                static_cast<unsigned long long>(packs * rows_per_pack),
                static_cast<unsigned long long>(packs + packs / 2),
                times.empty() ? 0.0 : times[times.size() / 2] * 1e6 / limits::epoch_blocks_max);
  }

  void windows() {
    auto const shelf = make_pack_shelf(*files, store_layout(""), blockstore, durability::barrier);
    shelf->use(*index);
    upkeep_request request;
    request.without_row = false;
    request.rows = packs * rows_per_pack;
    work_monitor monitor;
    std::uint64_t found = 0;
    std::uint64_t count = 0;
    auto const cpu = cpu_seconds();
    auto const wall = seconds_of([&] {
      shelf->for_each_window(request, 2, monitor, [&](std::vector<upkeep_block>& window) {
        found += window.size();
        ++count;
      });
    });
    std::printf("rows in %llu windows: %.2f s, %.2f s of processor time%s\n",
                static_cast<unsigned long long>(count), wall, cpu_seconds() - cpu,
                found == request.rows ? "" : " (not all)");
  }

  void removal() {
    auto const shelf = make_pack_shelf(*files, store_layout(""), blockstore, durability::barrier);
    shelf->use(*index);
    std::atomic<bool> done{false};
    double longest = 0;
    std::thread dump([&] {
      auto const own = open();
      while (!done) {
        longest = std::max(longest, seconds_of([&] { own->insert({}, [] {}); }));
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
    work_monitor monitor;
    reclaimed_space freed;
    auto const wall = seconds_of([&] { freed = shelf->reclaim(monitor); });
    done = true;
    dump.join();
    std::printf("gc's removal of %llu packs: %.2f s; a dump waited %.3f s at most\n",
                static_cast<unsigned long long>(freed.packs_removed), wall, longest);
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: bench_pack_index DIR [ROWS] [ROWS_PER_PACK]\n", stderr);
    return 2;
  }
  auto const base = std::string(argv[1]) + format("/bench-pack-index-{}", ::getpid());
  bench b{.blockstore = base + "/.blockstore"};
  if (argc > 2) b.rows = std::strtoull(argv[2], nullptr, 10);
  if (argc > 3) b.rows_per_pack = std::max(1ULL, std::strtoull(argv[3], nullptr, 10));
  b.build();
  for (int round = 0; round < 3; ++round) b.windows();
  b.removal();
  b.index.reset();
  fs::remove_all(base);
  return 0;
}
