// Shared by the tests of what looks after a store: images of numbered blocks, and whether a store
// keeps its promises.
#pragma once

#include <map>
#include <vector>

#include "base/clock.hpp"
#include "store/gc.hpp"
#include "store/manifest.hpp"
#include "store/sqlite.hpp"
#include "store/verify.hpp"
#include "store_support.hpp"

namespace diskdump {

inline void put_blocks(std::string const& base, std::uint64_t first, std::uint64_t count) {
  auto const store = open_test_store(base);
  for (auto i = first; i < first + count; ++i) {
    auto const block = make_block(i);
    (void)store->put(block.id, block.frame);
  }
  store->barrier();
}

// An image of these blocks; the path of its manifest, relative to `base`. The manifest is as those
// of `store`, or plain where there is none.
inline std::string publish_image(std::string const& base, std::string const& name,
                                 std::vector<std::uint64_t> const& numbers, block_store* store) {
  clock_source::wall const day{std::chrono::seconds(1776996000)};  // 2026-04-24T02:00:00Z
  manifest_header header;
  header.source = "host:/dev/" + name;
  header.date = iso_time(day);
  header.geometry = {numbers.size() * 4096, 4096};
  std::optional<manifest_writer> writer;
  if (store != nullptr) {
    writer.emplace(base, name, header, *store);
  } else {
    writer.emplace(base, name, header);
  }
  for (auto const number : numbers) writer->add(make_block(number).id);
  if (store != nullptr) store->barrier();
  return writer->publish(day);
}

inline std::string publish_image(std::string const& base, std::string const& name,
                                 std::vector<std::uint64_t> const& numbers) {
  return publish_image(base, name, numbers, open_test_store(base).get());
}

using kind = block_damage::kind;

inline gc_report collect(std::string const& base, gc_options const& options = {}) {
  work_monitor monitor;
  return collect_garbage(base, options, monitor);
}

inline verify_report verify(std::string const& base, verify_options options = {}) {
  work_monitor monitor;
  options.threads = 3;
  return verify_store(base, options, monitor);
}

// Every row names a whole file of its size, and every manifest restores.
inline void check_store(std::string const& base) {
  auto const store = open_test_store(base);
  block_decompressor decompressor;
  byte_vector raw(limits::list_bytes_max);
  auto const check_block = [&](block_id const& id) {
    auto const frame = store->get(id);
    REQUIRE(frame.has_value());
    REQUIRE(sha256(byte_view(raw).first(decompressor.lz4_frame(*frame, raw))) == id);
    return frame->size();
  };
  store->list(
      [&](stored_block const& block) { CHECK(check_block(block.id) == block.stored_bytes); });
  auto const damaged = [](std::string const& path, error const& failure) {
    FAIL(path << ": " << failure.what());
  };
  for (auto const& entry : list_manifests(base, damaged)) {
    manifest_reader reader(base + "/" + entry.path, *store);
    while (auto const id = reader.next()) (void)check_block(*id);
  }
}

// Block files under their names.
inline std::size_t blocks_of(std::string const& base) {
  std::size_t count = 0;
  for (auto const& entry : std::filesystem::recursive_directory_iterator(base + "/.blockstore")) {
    count += entry.path().extension() == ".lz4" ? 1 : 0;
  }
  return count;
}

// Every file with its content; SQLite's own bookkeeping files are left out.
inline std::map<std::string, std::string> tree_of(std::string const& base) {
  std::map<std::string, std::string> tree;
  for (auto const& entry : std::filesystem::recursive_directory_iterator(base)) {
    auto const path = entry.path().string();
    if (!entry.is_regular_file() || path.ends_with("-wal") || path.ends_with("-shm")) continue;
    tree[path] = read_text(path);
  }
  return tree;
}

}  // namespace diskdump
