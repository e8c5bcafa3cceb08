// Shared by the tests of packs: a store of that format, and its files.
#pragma once

#include "store/index.hpp"
#include "store/layout.hpp"
#include "store/pack_writer.hpp"
#include "store/verify.hpp"
#include "store_support.hpp"

namespace diskdump {

inline std::unique_ptr<block_store> open_pack_store(std::string const& base,
                                                    store_open_options options = {}) {
  options.create_format = store_format::pack;
  return open_test_store(base, options);
}

inline std::vector<pack_file> packs_of(std::string const& base) {
  auto const files = make_posix_file_system(base + "/.blockstore");
  return list_packs(*files, store_layout(""));
}

inline std::string pack_file_path(std::string const& base, std::uint32_t number) {
  return base + "/.blockstore/" + pack_path(store_layout(""), number);
}

// The row of a block, from a connection of its own.
inline std::optional<stored_block> row_of(std::string const& base, block_id const& id) {
  std::uint64_t rebuilt = 0;
  store_index index({.path = base + "/.blockstore/packs.db",
                     .format = store_format::pack,
                     .wait_max = std::chrono::milliseconds(1000)},
                    {}, rebuilt);
  return index.rows_of(std::span(&id, 1), true).front();
}

// Changes a byte of what is stored for a block.
inline void damage_block(std::string const& base, block_id const& id, std::uint32_t at) {
  auto const row = row_of(base, id);
  REQUIRE(row.has_value());
  auto const path = pack_file_path(base, row->place.pack);
  auto text = read_text(path);
  text[row->place.offset + at] = static_cast<char>(text[row->place.offset + at] ^ 1);
  write_text(path, text);
}

inline std::vector<std::uint64_t> numbers(std::uint64_t first, std::uint64_t count) {
  std::vector<std::uint64_t> all;
  for (auto i = first; i < first + count; ++i) all.push_back(i);
  return all;
}

inline block_damage const* find_damage(verify_report const& report, std::uint64_t number) {
  auto const id = make_block(number).id;
  for (auto const& damage : report.damages) {
    if (damage.id == id) return &damage;
  }
  return nullptr;
}

}  // namespace diskdump
