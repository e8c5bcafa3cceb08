// What the manifest of a large image takes and costs: of a new one, of the same again, and of one
// with a block changed. The image's blocks themselves are not there: only their digests matter.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/clock.hpp"
#include "base/format.hpp"
#include "codec/digest.hpp"
#include "store/manifest.hpp"

namespace {

using namespace diskdump;

struct settings {
  std::string base;
  std::uint64_t blocks = 8'388'608;  // 1 TiB
  store_format kind = store_format::pack;
};

// As many different digests as wanted, for nothing.
block_id digest_of(std::uint64_t number) {
  block_id id;
  for (std::size_t at = 0; at < id.bytes.size(); at += 8) {
    number += 0x9e3779b97f4a7c15ULL;
    auto mixed = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
    store_le<std::uint64_t>(id.bytes.data() + at, mixed ^ (mixed >> 31));
  }
  return id;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Every file of the store: manifests, packs, index.
std::uint64_t bytes_below(std::string const& folder) {
  std::uint64_t bytes = 0;
  for (auto const& entry : std::filesystem::recursive_directory_iterator(folder)) {
    // SQLite's shared memory is there only while the store is open, or after a reader.
    bool const shared = entry.path().string().ends_with("-shm");
    if (entry.is_regular_file() && !shared) bytes += entry.file_size();
  }
  return bytes;
}

// `changed`: this block is another one. The store is closed at the end, so its index is one file.
std::string write(settings const& s, std::uint64_t changed) {
  auto const store = open_store(s.base, {.create_block_bytes = 131072, .create_format = s.kind});
  clock_source::wall const day{std::chrono::seconds(1776996000)};
  manifest_header header;
  header.source = "host:/dev/sda";
  header.date = iso_time(day);
  header.geometry = {s.blocks * 131072, 131072};
  manifest_writer writer(s.base, "image", header, *store);
  for (std::uint64_t i = 0; i < s.blocks; ++i) writer.add(digest_of(i == changed ? ~i : i));
  store->barrier();
  return writer.publish(day);
}

void write_and_say(settings const& s, std::uint64_t changed, char const* what) {
  auto const before = bytes_below(s.base);
  auto start = std::chrono::steady_clock::now();
  auto const path = write(s, changed);
  auto const writing = seconds_since(start);
  auto const after = bytes_below(s.base);
  start = std::chrono::steady_clock::now();
  std::uint64_t read = 0;
  auto const store = open_store(s.base, {.read_only = true});
  manifest_reader reader(s.base + "/" + path, *store);
  while (reader.next()) ++read;
  if (read != s.blocks) std::abort();
  std::printf(
      "%s: the store grew by %s bytes, the manifest has %s; written in %.2f s, read in %.2f s\n",
      what, std::to_string(after - before).c_str(), std::to_string(reader.file_bytes()).c_str(),
      writing, seconds_since(start));
}

}  // namespace

int main(int argc, char** argv) {
  settings s;
  if (argc < 2) {
    std::fputs("usage: bench_manifests DIR [FORMAT] [BLOCKS]\n", stderr);
    return 2;
  }
  s.base = std::string(argv[1]) + format("/bench-manifests-{}", ::getpid());
  if (argc > 2) s.kind = store_format_of(argv[2]).value_or(store_format::pack);
  if (argc > 3) s.blocks = std::strtoull(argv[3], nullptr, 10);
  std::filesystem::create_directories(s.base);
  auto const none = s.blocks;
  write_and_say(s, none, "new");
  write_and_say(s, none, "unchanged");
  write_and_say(s, s.blocks / 2, "one block changed");
  std::filesystem::remove_all(s.base);
  return 0;
}
