// What each stage of the pipeline costs by itself, beside what the machine can do at best:
//
//   bench_stages DIR DATA [ROUNDS]
//
// DIR is a folder of the disk that the store and the file to read lie on for the time being, DATA a
// file (an image, a library) whose blocks are hashed and compressed: those that are not zero, 32
// MiB at most. All stages run once per round, one behind the other, so that stage and limit see the
// same machine; the medians are printed. Costs are processor time of all threads, so that they hold
// on a busy machine; of what waits for a disk it is the time that passed, marked with `wall`.
//
// How libssh2 and OpenSSH do as a whole is measured by ssh.py; here stands what the ciphers alone
// would allow, once by packets and once as libssh2 calls them, 16 bytes at a time.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>
#include <stdexcept>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/digest.hpp"
#include "stage_list.hpp"

namespace diskdump {

namespace {

constexpr std::size_t data_bytes_max = 32 * limits::MiB;  // more than any cache near a core

double clock_seconds(clockid_t which) {
  timespec now{};
  (void)::clock_gettime(which, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

std::vector<byte_vector> data_blocks(std::string const& path) {
  std::vector<byte_vector> blocks;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> const file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (!file) throw std::runtime_error("cannot read " + path);
  byte_vector block(limits::block_bytes_default);
  while (blocks.size() * block.size() < data_bytes_max &&
         std::fread(block.data(), 1, block.size(), file.get()) == block.size()) {
    if (!is_zero(block)) blocks.push_back(block);
  }
  if (blocks.empty()) throw std::runtime_error(path + " holds no block that is not zero");
  return blocks;
}

void measure(std::string const& below, std::string const& data, int rounds) {
  std::string folder = below + "/bench-stages-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) {
    throw std::runtime_error("cannot make a folder in " + below);
  }
  std::shared_ptr<void> const removed(nullptr, [&](void*) {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  });
  auto const blocks = data_blocks(data);
  stage_list stages;
  add_codec_stages(stages, blocks);
  add_ssh_stages(stages);
  add_hop_stages(stages);
  add_store_stages(stages, folder);
  add_disk_stages(stages, folder);
  stages.run(rounds);
  stages.print();
}

}  // namespace

double stage::ns_each() const {
  auto sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  return sorted[sorted.size() / 2] * 1e9 / static_cast<double>(operations);
}

void stage_list::run(int rounds) {
  for (int round = 0; round < rounds; ++round) {
    for (auto& one : all_) {
      auto const clock = one.wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID;
      auto const begin = clock_seconds(clock);
      one.run();
      one.seconds.push_back(clock_seconds(clock) - begin);
    }
  }
}

void stage_list::print() const {
  fmt::print("| stage | ns per operation | MB/s per core | limit | share of it |\n");
  fmt::print("|---|---|---|---|---|\n");
  for (auto const& one : all_) {
    auto const each = one.ns_each();
    std::string share;
    if (!one.limit.empty()) {
      auto const limit = std::find_if(all_.begin(), all_.end(),
                                      [&](stage const& other) { return other.name == one.limit; });
      keep(limit != all_.end());
      share = format("{:.1f} %", 100 * limit->ns_each() / each);
    }
    auto const rate = format("{:.0f}", static_cast<double>(one.bytes) * 1e3 / each);
    fmt::print("| {} | {:.0f} | {} | {} | {} |\n", one.name, each, one.bytes > 0 ? rate : "",
               one.limit, share);
  }
}

void keep(bool condition) {
  if (condition) return;
  std::fputs("bench_stages: a stage did not do its work\n", stderr);
  std::abort();
}

}  // namespace diskdump

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: bench_stages DIR DATA [ROUNDS]\n", stderr);
    return 2;
  }
  try {
    diskdump::measure(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 5);
  } catch (std::exception const& failure) {
    std::fprintf(stderr, "bench_stages: %s\n", failure.what());
    return 1;
  }
  return 0;
}
