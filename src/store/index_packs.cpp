// What the index says of packs: which are in use, what is in them, and where a block went.
#include <algorithm>
#include <map>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "store/index_reader.hpp"

namespace diskdump {

std::vector<store_index::pack_use> store_index::packs_in_use(sqlite_connection const& connection,
                                                             bool condemned) const {
  DISKDUMP_ASSERT(options_.format == store_format::pack);
  std::map<std::uint32_t, pack_use> packs;
  auto const take = [&](char const* table, store_stats pack_use::* which) {
    // Not GROUP BY, for which SQLite would sort all rows in memory.
    sqlite_statement select(connection, format("SELECT pack, compressed_size FROM {}", table));
    while (select.step()) {
      auto const number = static_cast<std::uint32_t>(select.number(0));
      auto& pack = packs.try_emplace(number, pack_use{.pack = number}).first->second;
      ++(pack.*which).blocks;
      (pack.*which).stored_bytes += static_cast<std::uint64_t>(select.number(1));
    }
  };
  take("blocks", &pack_use::rows);
  if (condemned) take("condemned", &pack_use::condemned);
  std::vector<pack_use> all;
  all.reserve(packs.size());
  for (auto const& [number, pack] : packs) all.push_back(pack);
  return all;
}

std::vector<store_index::pack_use> store_index::packs_in_use() {
  if (options_.read_only && !path_exists(options_.path)) return {};
  reader_lease const reader(*this);
  return packs_in_use(*reader->connection, reader->condemned != nullptr);
}

void store_index::with_packs_in_use(
    std::function<void(std::vector<pack_use> const&)> const& action) {
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction const transaction(*writer_, "BEGIN IMMEDIATE");
  action(packs_in_use(*writer_, true));
}

std::vector<store_index::known_block> store_index::known_in_packs(
    std::uint32_t first, std::uint32_t last,
    std::function<bool(std::uint32_t pack)> const& wanted) {
  std::vector<known_block> found;
  if (options_.read_only && !path_exists(options_.path)) return found;
  reader_lease const reader(*this);
  auto const take = [&](char const* table, bool condemned) {
    sqlite_statement select(
        *reader->connection,
        format("SELECT {} FROM {} WHERE pack BETWEEN ?1 AND ?2", sql_.row_columns(), table));
    select.bind(1, std::int64_t{first});
    select.bind(2, std::int64_t{last});
    while (select.step()) {
      auto const row = sql_.row(select);
      if (row && (!wanted || wanted(row->place.pack))) found.push_back({*row, condemned});
    }
  };
  take("blocks", false);
  if (reader->condemned) take("condemned", true);
  // Here rather than in SQL: there a million rows would be sorted in files.
  std::sort(found.begin(), found.end(), [](known_block const& a, known_block const& b) {
    return a.block.place < b.block.place;
  });
  return found;
}

void store_index::move(std::span<moved_block const> blocks) {
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  for (auto const* const table : {"blocks", "condemned"}) {
    sqlite_statement update(*writer_, format("UPDATE {} SET pack = ?2, offset = ?3 WHERE hash = ?1 "
                                             "AND pack = ?4 AND offset = ?5",
                                             table));
    for (auto const& block : blocks) {
      index_key const key(options_.format, block.id);
      key.bind(update, 1);
      update.bind(2, std::int64_t{block.to.pack});
      update.bind(3, std::int64_t{block.to.offset});
      update.bind(4, std::int64_t{block.from.pack});
      update.bind(5, std::int64_t{block.from.offset});
      (void)update.step();
    }
  }
  transaction.commit();
}

}  // namespace diskdump
