// What the index says of packs: which are in use, where a block went, and whether a reindex has
// given rows to what had none.
#include <map>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "store/index_reader.hpp"

namespace diskdump {

namespace {

constexpr char const* sql_adoptions = "PRAGMA user_version";

}  // namespace

std::vector<store_index::pack_use> store_index::packs_in_use() {
  DISKDUMP_ASSERT(options_.format == store_format::pack);
  std::map<std::uint32_t, pack_use> packs;
  for_each_known([&](known_block const& known) {
    auto const number = known.block.place.pack;
    auto& pack = packs.try_emplace(number, pack_use{.pack = number}).first->second;
    auto& stats = known.condemned ? pack.condemned : pack.rows;
    stats += {1, known.block.stored_bytes};
    return true;
  });
  std::vector<pack_use> all;
  all.reserve(packs.size());
  for (auto const& [number, pack] : packs) all.push_back(pack);
  return all;
}

// In the head of the database, which is written anyway where a row is, and part of the transaction.
void store_index::count_adoption() const {
  auto const next = (writer_->query_number(sql_adoptions) + 1) & 0x7fff'ffff;
  writer_->execute(format("{} = {}", sql_adoptions, next).c_str());
}

std::int64_t store_index::adoptions() {
  reader_lease const reader(*this);
  return reader->connection->query_number(sql_adoptions);
}

bool store_index::unless_adopted(std::int64_t since, std::function<void()> const& action) {
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction const transaction(*writer_, "BEGIN IMMEDIATE");
  if (writer_->query_number(sql_adoptions) != since) return false;
  action();
  return true;
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
