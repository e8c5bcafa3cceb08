// What gc writes into the index: which blocks are condemned, and by which collection.
#include <algorithm>
#include <chrono>
#include <set>
#include <thread>
#include <utility>
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

store_stats store_index::condemn_rows(std::int64_t collection, std::span<row_run const> runs) {
  store_stats done;
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  // A run costs about as much as a row by itself: finding where it begins is most of it.
  sqlite_statement copy(*writer_, sql_.condemn_rows());
  sqlite_statement remove(*writer_, sql_delete_rows);
  sqlite_statement sum(*writer_,
                       "SELECT coalesce(sum(compressed_size), 0) FROM blocks WHERE hash >= ?1 AND "
                       "hash <= ?2");
  copy.bind(3, collection);
  for (auto const& run : runs) {
    index_key const first(options_.format, run.first);
    index_key const last(options_.format, run.last);
    auto const between = [&](sqlite_statement& statement) -> sqlite_statement& {
      first.bind(statement, 1);
      last.bind(statement, 2);
      return statement;
    };
    (void)between(copy).step();
    auto const blocks = static_cast<std::uint64_t>(writer_->changes());
    done.blocks += blocks;
    if (blocks == run.rows.blocks) {
      done.stored_bytes += run.rows.stored_bytes;
    } else if (between(sum).step()) {
      done.stored_bytes += static_cast<std::uint64_t>(sum.number(0));
      sum.reset();
    }
    (void)between(remove).step();
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
    done += {1, file.stored_bytes};
  }
  transaction.commit();
  return done;
}

void store_index::set_leases(std::int64_t collection, std::string const& leases) {
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  // One that is not known, see collections(), becomes known by it.
  sqlite_statement update(*writer_, "REPLACE INTO collections (leases, number) VALUES (?1, ?2)");
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

namespace {

// How many rows the next step takes, so that it holds the write lock for about
// limits::sweep_step_time: what a row costs differs by hundreds between memory and a busy disk.
std::size_t rows_of_next_step(std::size_t rows, std::chrono::steady_clock::duration took) {
  using seconds = std::chrono::duration<double>;
  auto const factor = seconds(limits::sweep_step_time) / std::max(seconds(took), seconds(1e-6));
  auto const wanted = static_cast<double>(rows) * std::clamp(factor, 0.25, 4.0);
  return std::clamp(static_cast<std::size_t>(wanted), limits::sweep_rows_per_step_min,
                    limits::sweep_rows_per_step_max);
}

}  // namespace

// Takes steps of a transaction, and those in parts: while the bytes of one part are deleted, which
// is done on all cores, its marks go and the next part is judged.
class store_index::sweeper {
 public:
  sweeper(store_index& index, std::int64_t collection, sweep_actions const& actions)
      : index_(index),
        collection_(collection),
        actions_(actions),
        select_(*index.writer_,
                format("SELECT {}, stray, collection, "
                       "EXISTS (SELECT 1 FROM blocks WHERE blocks.hash = condemned.hash) "
                       "FROM condemned WHERE hash > ?1 ORDER BY hash LIMIT ?2",
                       index.sql_.row_columns())),
        absolve_(*index.writer_,
                 "DELETE FROM condemned WHERE hash > ?1 AND hash <= ?2 AND collection = ?3") {}

  sweep_result run();

 private:
  struct part {
    block_id after;  // it is the rows behind this one …
    block_id last;   // … up to this one
    std::size_t rows = 0;
    std::vector<stored_block> unneeded;
    sweep_result result;
  };

  [[nodiscard]] sweep_result step(std::size_t rows_max);
  [[nodiscard]] part next_part(std::size_t rows_max);
  void judge(stored_block const& block, bool stray, part& of);
  void take_marks_off(part const& swept);

  store_index& index_;
  std::int64_t collection_;
  sweep_actions const& actions_;
  sqlite_statement select_;
  sqlite_statement absolve_;
  block_id after_;
  bool more_ = true;
};

// Rows of other collections count for a part as well: they are passed over, which takes time.
store_index::sweeper::part store_index::sweeper::next_part(std::size_t rows_max) {
  struct row {
    stored_block block;
    bool stray;
  };
  std::vector<row> rows;
  part next{.after = after_, .last = after_, .rows = 0, .unneeded = {}, .result = {}};
  index_key const from(index_.options_.format, after_);
  from.bind(select_, 1);
  select_.bind(2, static_cast<std::int64_t>(rows_max));
  while (select_.step()) {
    ++next.rows;
    auto const block = index_.sql_.row(select_);
    if (!block) continue;
    next.last = block->id;
    // One that has a row was put again under our eyes, by somebody who does not know of marks.
    bool const ours = select_.number(5) == collection_ && select_.number(6) == 0;
    if (ours) rows.push_back({*block, select_.number(4) != 0});
  }
  select_.reset();
  for (auto const& row : rows) judge(row.block, row.stray, next);
  more_ = next.rows == rows_max && next.last != after_;
  after_ = next.last;
  return next;
}

void store_index::sweeper::judge(stored_block const& block, bool stray, part& of) {
  if (!actions_.needed(block.id)) {
    of.unneeded.push_back(block);
    of.result.freed += {1, block.stored_bytes};
    return;
  }
  ++of.result.blocks_rescued;
  // A file without a row before stays one: nobody has looked into it.
  if (stray || !actions_.exists(block)) return;
  index_key const key(index_.options_.format, block.id);
  index_.sql_.bind_row(*index_.insert_, key, block);
  (void)index_.insert_->step();
}

void store_index::sweeper::take_marks_off(part const& swept) {
  index_key const from(index_.options_.format, swept.after);
  index_key const to(index_.options_.format, swept.last);
  from.bind(absolve_, 1);
  to.bind(absolve_, 2);
  absolve_.bind(3, collection_);
  (void)absolve_.step();
  absolve_.reset();
}

store_index::sweep_result store_index::sweeper::step(std::size_t rows_max) {
  sweep_result done;
  sqlite_transaction transaction(*index_.writer_, "BEGIN IMMEDIATE");
  auto const take_some = [&] {
    auto taken = next_part(std::min(rows_max, limits::sweep_rows_per_part));
    rows_max -= taken.rows;
    return taken;
  };
  for (auto next = take_some(); next.rows > 0;) {
    auto const now = std::exchange(next, {});
    // Bytes first, marks then: what is cut off before the commit is condemned still.
    actions_.erase(now.unneeded, [&] {
      take_marks_off(now);
      if (more_ && rows_max > 0) next = take_some();
    });
    done.freed += now.result.freed;
    done.blocks_rescued += now.result.blocks_rescued;
  }
  transaction.commit();
  return done;
}

store_index::sweep_result store_index::sweeper::run() {
  sweep_result total;
  auto rows_per_step = limits::sweep_rows_per_step_first;
  for (bool first = true; more_ && !actions_.stopped(); first = false) {
    if (!first) std::this_thread::sleep_for(limits::sweep_pause);
    auto const begin = std::chrono::steady_clock::now();
    auto const done = step(rows_per_step);
    total.freed += done.freed;
    total.blocks_rescued += done.blocks_rescued;
    rows_per_step = rows_of_next_step(rows_per_step, std::chrono::steady_clock::now() - begin);
  }
  return total;
}

store_index::sweep_result store_index::sweep(std::int64_t collection,
                                             sweep_actions const& actions) {
  std::lock_guard const lock(writer_mutex_);
  return sweeper(*this, collection, actions).run();
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
