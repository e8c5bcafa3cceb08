// What looking after a store costs: verify, gc and reindex, beside what the cores can do at
// best with the same blocks.
//
//   bench_upkeep DIR [BLOCKS] [BLOCK_BYTES] [loose|pack] [THREADS] [all|gc]     DIR is a folder of
//   the file system to measure; gc: only that, and what the kernel takes for its files
//
// The store is synthetic: half of each block compresses. Each phase runs in a process of its own,
// so that its memory is its own.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"
#include "store/gc.hpp"
#include "store/manifest.hpp"
#include "store/reindex.hpp"
#include "store/run_parallel.hpp"
#include "store/verify.hpp"

namespace {

using namespace diskdump;

struct settings {
  std::string base;
  std::uint64_t blocks = 100'000;
  std::uint32_t block_bytes = 4096;
  store_format kind = store_format::loose;
  unsigned threads = std::max(1U, std::thread::hardware_concurrency());
  bool only_gc = false;
};

struct made_block {
  block_id id;
  byte_vector frame;
};

made_block make_block(std::uint64_t number, std::size_t bytes) {
  byte_vector raw(bytes);
  std::uint64_t state = number * 0x9e3779b97f4a7c15ULL + 1;
  for (std::size_t i = 0; i + 8 <= bytes / 2; i += 8) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    store_le<std::uint64_t>(raw.data() + i, state ^ (state >> 29));
  }
  store_le<std::uint64_t>(raw.data(), number);
  made_block made;
  made.id = sha256(raw);
  made.frame.resize(lz4_frame_bytes_max(bytes));
  thread_local block_compressor compressor;
  made.frame.resize(compressor.lz4_frame(raw, made.frame));
  return made;
}

double seconds_of(std::function<void()> const& action) {
  auto const start = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::uint64_t rss_peak_bytes() {
  rusage use{};
  (void)::getrusage(RUSAGE_SELF, &use);
  return static_cast<std::uint64_t>(use.ru_maxrss) * 1024;
}

// Runs `phase` in a child and prints what it says about itself.
void in_a_child(std::function<std::string()> const& phase) {
  std::fflush(stdout);
  auto const child = ::fork();
  if (child == 0) {
    int status = 0;
    try {
      auto const line = phase();
      std::printf("%s\n", line.c_str());
    } catch (std::exception const& failure) {
      std::printf("failed: %s\n", failure.what());
      status = 1;
    }
    std::fflush(stdout);
    std::_Exit(status);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) < 0 || status != 0) std::exit(1);
}

std::string build(settings const& s) {
  auto const seconds = seconds_of([&] {
    auto const store =
        open_store(s.base, {.create_block_bytes = s.block_bytes, .create_format = s.kind});
    std::vector<block_id> ids(s.blocks);
    run_parallel(s.blocks, s.threads * 2, [&](std::size_t i) {
      auto const block = make_block(i, s.block_bytes);
      ids[i] = block.id;
      (void)store->put(block.id, block.frame);
    });
    store->barrier();
    clock_source::wall const day{std::chrono::seconds(1776996000)};
    // Ten images of a tenth each, and ten of half of everything: named more than once.
    for (unsigned image = 0; image < 20; ++image) {
      auto const first = image < 10 ? s.blocks / 10 * image : s.blocks / 20 * (image - 10);
      auto const count = image < 10 ? s.blocks / 10 : s.blocks / 2;
      manifest_header header;
      header.source = format("host{}:/dev/sda", image);
      header.date = iso_time(day);
      header.geometry = {count * s.block_bytes, s.block_bytes};
      manifest_writer writer(s.base, format("image{}", image), header, *store);
      for (std::uint64_t i = 0; i < count; ++i) writer.add(ids[(first + i) % s.blocks]);
      store->barrier();
      (void)writer.publish(day);
    }
  });
  return format("built: {} blocks of {} bytes in {:.1f} s", s.blocks, s.block_bytes, seconds);
}

// The same blocks from memory: what `threads` cores decompress and hash when nothing else is done,
// so many side by side.
std::string limit_of_cores(settings const& s, std::size_t at_once) {
  std::uint64_t const some = std::min<std::uint64_t>(s.blocks, 256 * limits::MiB / s.block_bytes);
  std::vector<made_block> blocks(some);
  run_parallel(some, s.threads, [&](std::size_t i) { blocks[i] = make_block(i, s.block_bytes); });
  auto const seconds = seconds_of([&] {
    run_parallel(some / at_once, s.threads, [&](std::size_t task) {
      thread_local byte_vector raw(s.block_bytes * at_once);
      thread_local block_decompressor decompressor;
      std::array<byte_view, sha256_at_once> contents;
      std::array<block_id, sha256_at_once> ids;
      for (std::size_t i = 0; i < at_once; ++i) {
        auto const room = byte_span(raw).subspan(i * s.block_bytes, s.block_bytes);
        contents[i] = room.first(decompressor.lz4_frame(blocks[task * at_once + i].frame, room));
      }
      sha256_each(std::span(contents).first(at_once), std::span(ids).first(at_once));
      for (std::size_t i = 0; i < at_once; ++i) {
        if (ids[i] != blocks[task * at_once + i].id) std::abort();
      }
    });
  });
  return format("decompress and hash from memory, {} at once: {:.0f} blocks/s, {:.0f} MB/s",
                at_once, static_cast<double>(some) / seconds,
                static_cast<double>(some * s.block_bytes) / seconds / 1e6);
}

// Opening, reading and closing the files of blocks, and nothing else.
std::string limit_of_files(settings const& s) {
  std::vector<std::string> paths;
  std::string const root = s.base + "/.blockstore";
  for (auto const& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().extension() == (s.kind == store_format::loose ? ".lz4" : ".pack")) {
      paths.push_back(entry.path().string().substr(root.size() + 1));
    }
  }
  auto const files = make_posix_file_system(root);
  std::atomic<std::uint64_t> bytes{0};
  auto const seconds = seconds_of([&] {
    run_parallel(paths.size(), s.threads, [&](std::size_t i) {
      for (std::uint64_t at = 0;;) {
        auto const n = files->read(paths[i], limits::pack_read_bytes, at)->size();
        at += n;
        bytes += n;
        if (n < limits::pack_read_bytes) break;
      }
    });
  });
  return format("read the files: {:.0f} blocks/s, {:.0f} MB/s",
                static_cast<double>(s.blocks) / seconds,
                static_cast<double>(bytes) / seconds / 1e6);
}

// Listing the folders of blocks, and nothing else.
std::string limit_of_listing(settings const& s) {
  auto const files = make_posix_file_system(s.base + "/.blockstore");
  std::atomic<std::uint64_t> found{0};
  auto const seconds = seconds_of([&] {
    run_parallel(256, s.threads, [&](std::size_t high) {
      for (unsigned low = 0; low < 256; ++low) {
        found += files->list_directory(format("{:02x}/{:02x}", high, low)).size();
      }
    });
  });
  return format("list the folders: {:.3f} s, {:.0f} blocks/s", seconds,
                static_cast<double>(found) / seconds);
}

// Deleting as many files as gc deletes, in as many folders, and nothing else. They are copies of
// it.
std::string limit_of_deleting(settings const& s) {
  std::string const root = s.base + "/to_delete";
  std::filesystem::create_directory(root);
  std::vector<std::string> paths;
  std::string const from = s.base + "/.blockstore";
  for (auto const& entry : std::filesystem::recursive_directory_iterator(from)) {
    if (entry.path().extension() != ".lz4") continue;
    paths.push_back(entry.path().string().substr(from.size() + 1));
  }
  // Made in the order in which blocks come, which is none.
  std::shuffle(paths.begin(), paths.end(), std::mt19937(1));
  for (auto const& path : paths) {
    auto const to = root + "/" + path;
    std::filesystem::create_directories(std::filesystem::path(to).parent_path());
    std::filesystem::copy_file(from + "/" + path, to);
  }
  std::sort(paths.begin(), paths.end());
  auto const files = make_posix_file_system(root);
  auto const seconds = seconds_of([&] {
    constexpr std::size_t each = 64;
    run_parallel((paths.size() + each - 1) / each, s.threads, [&](std::size_t task) {
      for (auto i = task * each; i < std::min(paths.size(), (task + 1) * each); ++i) {
        (void)files->remove(paths[i]);
      }
    });
  });
  std::filesystem::remove_all(root);
  return format("delete the files: {:.0f} blocks/s", static_cast<double>(paths.size()) / seconds);
}

std::string verify(settings const& s) {
  work_monitor monitor;
  verify_report report;
  auto const before = rss_peak_bytes();
  auto const seconds =
      seconds_of([&] { report = verify_store(s.base, {.threads = s.threads}, monitor); });
  // In packs the lists of the images are blocks, too.
  if (!report.all_well() || report.blocks < s.blocks) throw std::runtime_error("damage");
  return format("verify: {:.2f} s, {:.0f} blocks/s, {:.0f} MB/s of content, RSS +{} bytes a block",
                seconds, static_cast<double>(report.blocks) / seconds,
                static_cast<double>(report.content_bytes) / seconds / 1e6,
                (rss_peak_bytes() - before) / s.blocks);
}

std::string reindex(settings const& s, bool quick) {
  work_monitor monitor;
  reindex_report report;
  auto const seconds = seconds_of(
      [&] { report = rebuild_index(s.base, {.quick = quick, .threads = s.threads}, monitor); });
  return format("reindex{}: {:.2f} s, {:.0f} blocks/s, {} rows added", quick ? " --quick" : "",
                seconds, static_cast<double>(report.files) / seconds, report.rows_added);
}

std::string collect(settings const& s, char const* what) {
  work_monitor monitor;
  gc_report report;
  auto const before = rss_peak_bytes();
  auto const seconds =
      seconds_of([&] { report = collect_garbage(s.base, {.threads = s.threads}, monitor); });
  return format(
      "gc, {}: {:.2f} s, {:.0f} blocks/s, {} freed ({:.0f}/s), {} packs removed, RSS +{} bytes a "
      "block",
      what, seconds, static_cast<double>(s.blocks) / seconds, report.freed.blocks,
      static_cast<double>(report.freed.blocks) / seconds, report.reclaimed.packs_removed,
      (rss_peak_bytes() - before) / s.blocks);
}

void remove_images(settings const& s, unsigned first, unsigned last) {
  for (unsigned image = first; image < last; ++image) {
    std::filesystem::remove(format("{}/2026/04/24/image{}.manifest", s.base, image));
  }
}

void remove_index(settings const& s) {
  for (auto const* const suffix : {"", "-wal", "-shm"}) {
    for (auto const* const name : {"blocks.db", "packs.db"}) {
      std::filesystem::remove(s.base + "/.blockstore/" + name + suffix);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  settings s;
  if (argc < 2) {
    std::fputs("usage: bench_upkeep DIR [BLOCKS] [BLOCK_BYTES] [FORMAT] [THREADS] [all|gc]\n",
               stderr);
    return 2;
  }
  s.base = std::string(argv[1]) + format("/bench-upkeep-{}", ::getpid());
  if (argc > 2) s.blocks = std::strtoull(argv[2], nullptr, 10);
  if (argc > 3) s.block_bytes = static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10));
  if (argc > 4) s.kind = store_format_of(argv[4]).value_or(store_format::loose);
  if (argc > 5) s.threads = static_cast<unsigned>(std::strtoul(argv[5], nullptr, 10));
  if (argc > 6) s.only_gc = std::string_view(argv[6]) == "gc";
  std::filesystem::create_directories(s.base);
  in_a_child([&] { return build(s); });
  for (int round = 0; round < 3; ++round) {
    if (s.kind == store_format::loose) {
      in_a_child([&] { return limit_of_deleting(s); });
      in_a_child([&] { return limit_of_listing(s); });
    }
    if (!s.only_gc) {
      in_a_child([&] { return limit_of_cores(s, 1); });
      in_a_child([&] { return limit_of_cores(s, sha256_at_once); });
      in_a_child([&] { return limit_of_files(s); });
      in_a_child([&] { return verify(s); });
    }
    in_a_child([&] { return collect(s, "nothing to free"); });
  }
  if (!s.only_gc) {
    in_a_child([&] { return reindex(s, false); });
    remove_index(s);
    in_a_child([&] { return reindex(s, false); });
    remove_index(s);
    in_a_child([&] { return reindex(s, true); });
  }
  remove_images(s, 10, 20);
  remove_images(s, 0, 1);
  in_a_child([&] { return collect(s, "a tenth to free"); });
  remove_images(s, 1, 10);
  in_a_child([&] { return collect(s, "all the rest to free"); });
  std::filesystem::remove_all(s.base);
  return 0;
}
