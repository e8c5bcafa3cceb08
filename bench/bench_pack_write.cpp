// How packs could be written: bench_pack_write DIR [GIB] [ROUNDS]
//
// Writes packs of 64 MiB into a folder below DIR, 4 MiB at a time, and syncs each: as the store
// does, past the page cache, and both through io_uring with several pieces in flight. Each way once
// per round, in turn; prints medians. `own` is the processor time of this process and of the
// kernel's threads that io_uring runs in its name; `all` that of the whole machine, which holds the
// kernel's write-back as well, and whatever else runs.
#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/limits.hpp"

namespace {

constexpr std::size_t piece_bytes = diskdump::limits::pack_write_bytes;
constexpr std::size_t pieces_per_pack = diskdump::limits::pack_bytes / piece_bytes;
constexpr std::size_t alignment_bytes = 4096;
// Two buffers, as the store has: one is filled while the other is written. And what the disk makes
// of more.
constexpr unsigned pieces_in_flight = 2;
constexpr unsigned pieces_in_flight_many = 8;

void must(bool worked, char const* what) {
  if (worked) return;
  std::perror(what);
  std::exit(1);
}

using piece = std::unique_ptr<std::byte, void (*)(void*)>;

std::vector<piece> make_pieces() {
  std::vector<piece> pieces;
  std::mt19937_64 random(1);
  for (unsigned n = 0; n < pieces_in_flight_many; ++n) {
    pieces.emplace_back(static_cast<std::byte*>(std::aligned_alloc(alignment_bytes, piece_bytes)),
                        &std::free);
    must(pieces.back() != nullptr, "aligned_alloc");
    for (std::size_t i = 0; i < piece_bytes; ++i) {
      pieces.back().get()[i] = static_cast<std::byte>(random());
    }
  }
  return pieces;
}

int make_pack(std::string const& path, int flags) {
  int const file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0600);
  must(file >= 0, "open");
  must(::posix_fallocate(file, 0, static_cast<off_t>(pieces_per_pack * piece_bytes)) == 0,
       "posix_fallocate");
  return file;
}

void end_pack(int file) {
  must(::fdatasync(file) == 0, "fdatasync");
  must(::close(file) == 0, "close");
}

void by_calls(std::string const& path, int flags, std::vector<piece> const& pieces) {
  int const file = make_pack(path, flags);
  for (std::size_t i = 0; i < pieces_per_pack; ++i) {
    auto const at = static_cast<off_t>(i * piece_bytes);
    must(::pwrite(file, pieces[i % pieces.size()].get(), piece_bytes, at) ==
             static_cast<ssize_t>(piece_bytes),
         "write");
    if (flags == 0) (void)::sync_file_range(file, at, piece_bytes, SYNC_FILE_RANGE_WRITE);
  }
  end_pack(file);
}

void by_ring(std::string const& path, int flags, unsigned in_flight,
             std::vector<piece> const& pieces) {
  int const file = make_pack(path, flags);
  io_uring ring{};
  must(::io_uring_queue_init(pieces_in_flight_many, &ring, 0) == 0, "io_uring_queue_init");
  std::size_t begun = 0;
  for (std::size_t ended = 0; ended < pieces_per_pack; ++ended) {
    for (; begun < pieces_per_pack && begun < ended + in_flight; ++begun) {
      auto* const entry = ::io_uring_get_sqe(&ring);
      ::io_uring_prep_write(entry, file, pieces[begun % pieces.size()].get(), piece_bytes,
                            begun * piece_bytes);
    }
    must(::io_uring_submit(&ring) >= 0, "io_uring_submit");
    io_uring_cqe* done = nullptr;
    must(::io_uring_wait_cqe(&ring, &done) == 0 && done->res == static_cast<int>(piece_bytes),
         "io_uring");
    ::io_uring_cqe_seen(&ring, done);
  }
  ::io_uring_queue_exit(&ring);
  end_pack(file);
}

double seconds(clockid_t which) {
  timespec now{};
  must(::clock_gettime(which, &now) == 0, "clock_gettime");
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// Of all processors, without what they idled or waited.
double machine_seconds() {
  std::ifstream file("/proc/stat");
  std::string name;
  std::array<double, 8> ticks{};
  file >> name;
  for (auto& value : ticks) file >> value;
  constexpr std::size_t idle = 3, wait = 4, stolen = 7;
  double sum = 0;
  for (std::size_t i = 0; i < stolen; ++i) sum += i == idle || i == wait ? 0 : ticks[i];
  return sum / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

struct way {
  std::string name;
  std::function<void(std::string const&)> write_pack;
  std::array<std::vector<double>, 3> figures;  // wall, own, all
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void run(std::string const& below, std::size_t packs, int rounds) {
  auto const pieces = make_pieces();
  std::vector<way> ways;
  ways.push_back({"write", [&](auto const& path) { by_calls(path, 0, pieces); }, {}});
  ways.push_back(
      {"write, O_DIRECT", [&](auto const& path) { by_calls(path, O_DIRECT, pieces); }, {}});
  for (auto const n : {pieces_in_flight, pieces_in_flight_many}) {
    auto const name = "io_uring, " + std::to_string(n) + " in flight";
    ways.push_back({name, [&, n](auto const& path) { by_ring(path, 0, n, pieces); }, {}});
    ways.push_back({name + ", O_DIRECT",
                    [&, n](auto const& path) { by_ring(path, O_DIRECT, n, pieces); },
                    {}});
  }
  for (int round = 0; round < rounds; ++round) {
    for (auto& one : ways) {
      auto folder = below + "/bench-pack-write-XXXXXX";
      must(::mkdtemp(folder.data()) != nullptr, "mkdtemp");
      ::sync();
      auto const wall = seconds(CLOCK_MONOTONIC);
      auto const own = seconds(CLOCK_PROCESS_CPUTIME_ID);
      auto const all = machine_seconds();
      for (std::size_t n = 0; n < packs; ++n) {
        one.write_pack(folder + "/" + std::to_string(n));
      }
      one.figures[0].push_back(seconds(CLOCK_MONOTONIC) - wall);
      one.figures[1].push_back(seconds(CLOCK_PROCESS_CPUTIME_ID) - own);
      one.figures[2].push_back(machine_seconds() - all);
      std::filesystem::remove_all(folder);
    }
  }
  auto const mb = static_cast<double>(packs * pieces_per_pack * piece_bytes) / 1e6;
  std::printf("| | MB/s | own s per GB | all s per GB |\n|---|---|---|---|\n");
  for (auto const& one : ways) {
    std::printf("| %s | %.0f | %.3f | %.3f |\n", one.name.c_str(), mb / median(one.figures[0]),
                median(one.figures[1]) * 1e3 / mb, median(one.figures[2]) * 1e3 / mb);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    std::fputs("usage: bench_pack_write DIR [GIB] [ROUNDS]\n", stderr);
    return 2;
  }
  auto const gib = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1;
  auto const rounds = argc > 3 ? std::atoi(argv[3]) : 5;
  must(gib > 0 && rounds > 0, "GIB and ROUNDS are numbers");
  run(argv[1], gib * 16, rounds);
  return 0;
}
