// What gc writes into the index: which blocks are condemned, and by which collection.
#include <set>
#include <thread>
#include <vector>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "store/index_reader.hpp"

namespace diskdump {

std::int64_t store_index::begin_collection() {
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  auto const number = writer_->query_number("SELECT coalesce(max(number), 0) + 1 FROM collections");
  sqlite_statement insert(*writer_, "INSERT INTO collections (number) VALUES (?1)");
  insert.bind(1, number);
  (void)insert.step();
  transaction.commit();
  return number;
}

store_stats store_index::condemn_rows(std::int64_t collection, std::span<block_id const> ids) {
  store_stats done;
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  sqlite_statement remove(*writer_, format("{} RETURNING {}", sql_delete_row, sql_.row_columns()));
  sqlite_statement insert(*writer_, sql_.insert_condemned("REPLACE"));
  for (auto const& id : ids) {
    index_key const key(options_.format, id);
    key.bind(remove, 1);
    if (!remove.step()) continue;  // somebody took it out meanwhile
    auto const row = sql_.row(remove);
    remove.reset();
    sql_.bind_row(insert, key, *row);
    insert.bind(5, std::int64_t{0});
    insert.bind(6, collection);
    (void)insert.step();
    ++done.blocks;
    done.stored_bytes += row->stored_bytes;
  }
  transaction.commit();
  return done;
}

store_stats store_index::condemn_strays(std::int64_t collection,
                                        std::span<stored_block const> files) {
  store_stats done;
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  // What got its row meanwhile is no stray; what an earlier collection condemned stays with it.
  sqlite_statement insert(
      *writer_, sql_.insert_condemned("IGNORE") +
                    " WHERE NOT EXISTS (SELECT 1 FROM blocks WHERE hash = ?1) RETURNING 1");
  for (auto const& file : files) {
    index_key const key(options_.format, file.id);
    sql_.bind_row(insert, key, file);
    insert.bind(5, std::int64_t{1});
    insert.bind(6, collection);
    if (!insert.step()) continue;
    insert.reset();
    ++done.blocks;
    done.stored_bytes += file.stored_bytes;
  }
  transaction.commit();
  return done;
}

void store_index::set_leases(std::int64_t collection, std::string const& leases) {
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  sqlite_statement update(*writer_, "UPDATE collections SET leases = ?1 WHERE number = ?2");
  update.bind(1, leases);
  update.bind(2, collection);
  (void)update.step();
  transaction.commit();
}

std::vector<collection> store_index::collections() {
  std::vector<collection> all;
  if (options_.read_only && !path_exists(options_.path)) return all;
  reader_lease const reader(*this);
  if (!reader->condemned) return all;
  // A condemned block whose collection is not known belongs to one whose leases are not known.
  sqlite_statement select(*reader->connection,
                          "SELECT c.collection, count(*), sum(c.compressed_size), k.leases IS NULL,"
                          " k.leases FROM condemned c LEFT JOIN collections k"
                          " ON k.number = c.collection GROUP BY c.collection ORDER BY 1");
  while (select.step()) {
    collection one;
    one.number = select.number(0);
    one.condemned = {static_cast<std::uint64_t>(select.number(1)),
                     static_cast<std::uint64_t>(select.number(2))};
    if (select.number(3) == 0) one.leases = std::string(select.text(4));
    all.push_back(std::move(one));
  }
  return all;
}

bool store_index::any_condemned() const {
  return writer_->query_number("SELECT EXISTS (SELECT 1 FROM condemned)") != 0;
}

bool store_index::absolve(block_id const& id,
                          std::function<bool(stored_block const&)> const& exists) {
  index_key const key(options_.format, id);
  {
    // Hardly any block is condemned, and looking does not wait for other writers.
    reader_lease const reader(*this);
    // Another program may have put a database of its own there since we opened ours.
    if (!reader->condemned) return false;
    key.bind(*reader->condemned, 1);
    bool const there = reader->condemned->step();
    reader->condemned->reset();
    if (!there) return false;
  }
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  bool has_row = false;
  {
    // Somebody may have been told that it is held, and name it in a manifest; whoever puts it now
    // may die before his barrier.
    sqlite_statement select(
        *writer_,
        format("SELECT {} FROM condemned WHERE hash = ?1 AND stray = 0", sql_.row_columns()));
    key.bind(select, 1);
    auto const row = select.step() ? sql_.row(select) : std::nullopt;
    has_row = row && exists(*row);
    if (has_row) {
      sql_.bind_row(*insert_, key, *row);
      (void)insert_->step();
    }
  }
  key.bind(*absolve_, 1);
  (void)absolve_->step();
  transaction.commit();
  return has_row;
}

store_index::sweep_result store_index::sweep(std::int64_t collection,
                                             sweep_actions const& actions) {
  sweep_result total;
  std::lock_guard const lock(writer_mutex_);
  sqlite_statement select(
      *writer_,
      format("SELECT {}, stray FROM condemned WHERE hash > ?1 AND collection = ?2 ORDER BY hash "
             "LIMIT ?3",
             sql_.row_columns()));
  block_id after;
  bool more = true;
  for (bool first = true; more && !actions.stopped(); first = false) {
    if (!first) std::this_thread::sleep_for(limits::sweep_pause);
    sweep_result step;
    sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
    struct row {
      stored_block block;
      bool stray;
    };
    std::vector<row> rows;
    index_key const from(options_.format, after);
    from.bind(select, 1);
    select.bind(2, collection);
    select.bind(3, static_cast<std::int64_t>(limits::sweep_rows_per_step));
    more = false;
    std::size_t count = 0;
    while (select.step()) {
      more = ++count == limits::sweep_rows_per_step;
      if (auto const block = sql_.row(select)) rows.push_back({*block, select.number(4) != 0});
    }
    if (rows.empty())
      more = false;
    else
      after = rows.back().block.id;
    for (auto const& r : rows) {
      index_key const key(options_.format, r.block.id);
      key.bind(*contains_, 1);
      bool const has_row = contains_->step();
      contains_->reset();
      if (has_row) {
        // Put again under our eyes, by somebody who does not know of marks.
      } else if (actions.needed(r.block.id)) {
        ++step.blocks_rescued;
        // A file without a row before stays one: nobody has looked into it.
        if (!r.stray && actions.exists(r.block)) {
          sql_.bind_row(*insert_, key, r.block);
          (void)insert_->step();
        }
      } else {
        actions.erase(r.block);
        ++step.freed.blocks;
        step.freed.stored_bytes += r.block.stored_bytes;
      }
      key.bind(*absolve_, 1);
      (void)absolve_->step();
    }
    transaction.commit();
    total.freed.blocks += step.freed.blocks;
    total.freed.stored_bytes += step.freed.stored_bytes;
    total.blocks_rescued += step.blocks_rescued;
  }
  return total;
}

// The look at all condemned blocks is not made under the write lock: only gc condemns.
void store_index::end_collections() {
  std::set<std::int64_t> left;
  for (auto const& c : collections()) left.insert(c.number);
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  std::vector<std::int64_t> ended;
  sqlite_statement select(*writer_, "SELECT number FROM collections");
  while (select.step()) {
    if (!left.contains(select.number(0))) ended.push_back(select.number(0));
  }
  sqlite_statement remove(*writer_, "DELETE FROM collections WHERE number = ?1");
  for (auto const number : ended) {
    remove.bind(1, number);
    (void)remove.step();
  }
  transaction.commit();
}

}  // namespace diskdump
