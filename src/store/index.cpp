#include "store/index.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "store/index_reader.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

constexpr char const* count_foreign_tables =
    "SELECT count(*) FROM sqlite_master WHERE tbl_name NOT IN ('condemned', 'collections')";

}  // namespace

store_index::store_index(index_options options, index_filler const& fill, std::uint64_t& rebuilt)
    : options_(std::move(options)), sql_(options_.format) {
  if (!options_.read_only) open_writer(fill, rebuilt);
}

store_index::~store_index() = default;

void store_index::open_writer(index_filler const& fill, std::uint64_t& rebuilt) {
  if (!path_exists(options_.path)) make_new(fill, rebuilt);
  connect_writer(options_.path);
  prepare(fill, rebuilt);
  insert_ = std::make_unique<sqlite_statement>(*writer_, sql_.insert_row("IGNORE"));
  remove_ = std::make_unique<sqlite_statement>(*writer_, sql_delete_row);
  contains_ = std::make_unique<sqlite_statement>(*writer_, sql_select_row);
  absolve_ = std::make_unique<sqlite_statement>(*writer_, sql_delete_condemned);
  // Another table of this name would fail here or there; 0.1.x reads the first two columns.
  (void)sqlite_statement(*writer_, format("SELECT {} FROM blocks", sql_.row_columns()));
}

void store_index::connect_writer(std::string const& path) {
  writer_ = std::make_unique<sqlite_connection>(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                                options_.path, options_.wait_max);
  // In WAL mode NORMAL loses the last commits in a power cut but no older ones, and FULL none.
  writer_->execute(options_.durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
}

// Under a name of its own until it is whole: who only reads cannot finish what was cut off.
void store_index::make_new(index_filler const& fill, std::uint64_t& rebuilt) {
  auto const unfinished = options_.path + ".new";
  auto const remove_all = [](std::string const& path) {
    for (auto const* const suffix : {"", "-wal", "-shm", "-journal"}) {
      (void)::unlink((path + suffix).c_str());
    }
  };
  // The log of a database that was taken away must not be applied to the one made here.
  remove_all(options_.path);
  remove_all(unfinished);
  try {
    connect_writer(unfinished);
    prepare(fill, rebuilt);
    writer_.reset();  // and with it the log, whose content is in the database then
    auto const slash = options_.path.rfind('/');
    auto const name = options_.path.substr(slash + 1);
    writing([&] {
      auto const folder = make_posix_file_system(options_.path.substr(0, slash));
      if (!folder->rename_noreplace(name + ".new", name)) remove_all(unfinished);  // 0.1.x made one
      if (options_.durable) folder->sync(sync_scope::directory, "");
    });
  } catch (...) {
    writer_.reset();
    remove_all(unfinished);
    throw;
  }
}

void store_index::prepare(index_filler const& fill, std::uint64_t& rebuilt) {
  if (!has_table()) build(fill, rebuilt);
  use_wal();
  if (writer_->query_number(sql_count_own_tables) != 2) writer_->execute(sql_.create_own_tables());
}

bool store_index::has_table() const {
  return writer_->query_number(
             "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'blocks'") > 0;
}

void store_index::build(index_filler const& fill, std::uint64_t& rebuilt) {
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  if (has_table()) return;  // another process was faster
  if (writer_->query_number(count_foreign_tables) > 0) {
    throw writer_->failure(SQLITE_MISMATCH).cause("it is a database of another program");
  }
  writer_->execute(sql_.create_blocks());
  // Every file gets a row, so none is condemned.
  if (writer_->query_number(sql_count_own_tables) == 2) writer_->execute("DELETE FROM condemned");
  sqlite_statement insert(*writer_, sql_.insert_row("IGNORE"));
  fill([&](stored_block const& block) {
    index_key const key(options_.format, block.id);
    sql_.bind_row(insert, key, block);
    (void)insert.step();
    ++rebuilt;
  });
  transaction.commit();
}

// WAL is a property of the file: 0.1.x uses it as well. Where it is not possible (some network file
// systems), SQLite keeps its rollback journal, and all of this works with it too.
void store_index::use_wal() const {
  auto const end = std::chrono::steady_clock::now() + options_.wait_max;
  for (;;) {
    // Two processes that switch at once make one of them fail at once, without the busy timeout.
    try {
      if (writer_->query_text("PRAGMA journal_mode") != "wal") {
        (void)writer_->query_text("PRAGMA journal_mode = WAL");
      }
      return;
    } catch (error const& failure) {
      if (failure.code() != store_errc::index_busy || std::chrono::steady_clock::now() > end) throw;
    }
    std::this_thread::sleep_for(limits::index_retry_pause);
  }
}

void store_index::find(std::span<block_id const> ids, std::vector<bool>& answer) {
  // Without an index a read-only store has no rows.
  if (options_.read_only && !path_exists(options_.path)) return;
  reader_lease const reader(*this);
  // One read transaction for all: a lock per batch instead of one per block.
  (void)reader->begin.step();
  try {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (!answer[i]) continue;
      index_key const key(options_.format, ids[i]);
      key.bind(reader->select, 1);
      bool found = reader->select.step();
      reader->select.reset();
      if (!found && options_.read_only && reader->condemned) {
        key.bind(*reader->condemned, 1);
        found = reader->condemned->step();
        reader->condemned->reset();
      }
      if (found) answer[i] = false;
    }
    (void)reader->commit.step();
  } catch (...) {
    reader->select.reset();
    if (reader->condemned) reader->condemned->reset();
    (void)::sqlite3_exec(reader->connection->handle(), "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
}

bool store_index::contains(block_id const& id) {
  std::vector<bool> answer(1, true);
  find(std::span(&id, 1), answer);
  return !answer[0];
}

std::vector<std::optional<stored_block>> store_index::rows_of(std::span<block_id const> ids,
                                                              bool with_condemned) {
  std::vector<std::optional<stored_block>> found(ids.size());
  if (options_.read_only && !path_exists(options_.path)) return found;
  reader_lease const reader(*this);
  bool const both = with_condemned && reader->condemned_whole;
  auto const take = [this](sqlite_statement& statement, index_key const& key) {
    key.bind(statement, 1);
    auto row = statement.step() ? sql_.row(statement) : std::nullopt;
    statement.reset();
    return row;
  };
  (void)reader->begin.step();
  try {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      index_key const key(options_.format, ids[i]);
      found[i] = take(reader->select_whole, key);
      if (!found[i] && both) found[i] = take(*reader->condemned_whole, key);
    }
    (void)reader->commit.step();
  } catch (...) {
    reader->select_whole.reset();
    if (both) reader->condemned_whole->reset();
    (void)::sqlite3_exec(reader->connection->handle(), "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
  return found;
}

void store_index::insert(std::span<stored_block const> blocks,
                         std::function<void()> const& verify) {
  // Ascending keys touch each page of the tree once.
  std::vector<stored_block> sorted(blocks.begin(), blocks.end());
  std::sort(sorted.begin(), sorted.end(),
            [](stored_block const& a, stored_block const& b) { return a.id < b.id; });
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  verify();
  bool const marks = any_condemned();
  for (auto const& block : sorted) {
    index_key const key(options_.format, block.id);
    if (marks) {
      key.bind(*absolve_, 1);
      (void)absolve_->step();
    }
    sql_.bind_row(*insert_, key, block);
    (void)insert_->step();
  }
  transaction.commit();
}

void store_index::remove(std::span<block_id const> ids) {
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  for (auto const& id : ids) {
    index_key const key(options_.format, id);
    key.bind(*remove_, 1);
    (void)remove_->step();
  }
  transaction.commit();
}

void store_index::adopt(std::span<stored_block const> blocks,
                        std::function<bool(stored_block const&)> const& exists) {
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  sqlite_statement replace(*writer_, sql_.insert_row("REPLACE"));
  bool any = false;
  for (auto const& block : blocks) {
    if (!exists(block)) continue;
    any = true;
    index_key const key(options_.format, block.id);
    sql_.bind_row(replace, key, block);
    (void)replace.step();
    key.bind(*absolve_, 1);
    (void)absolve_->step();
  }
  if (any && options_.format == store_format::pack) count_adoption();
  transaction.commit();
}

bool store_index::is_sound() const { return writer_->query_text("PRAGMA quick_check(1)") == "ok"; }

std::uint64_t store_index::remove_unless(std::span<block_id const> ids,
                                         std::function<bool(block_id const&)> const& keep) {
  std::uint64_t removed = 0;
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction transaction(*writer_, "BEGIN IMMEDIATE");
  for (auto const& id : ids) {
    if (keep(id)) continue;
    index_key const key(options_.format, id);
    key.bind(*remove_, 1);
    (void)remove_->step();
    removed += static_cast<std::uint64_t>(::sqlite3_changes(writer_->handle()));
    key.bind(*absolve_, 1);
    (void)absolve_->step();
  }
  transaction.commit();
  return removed;
}

void store_index::for_each_absent(std::span<block_id const> ids,
                                  std::function<void(block_id const&)> const& action) {
  std::lock_guard const lock(writer_mutex_);
  sqlite_transaction const transaction(*writer_, "BEGIN IMMEDIATE");
  for (auto const& id : ids) {
    index_key const key(options_.format, id);
    key.bind(*contains_, 1);
    bool const there = contains_->step();
    contains_->reset();
    if (!there) action(id);
  }
}

std::vector<store_index::known_block> store_index::known_between(block_id const& first,
                                                                 block_id const& last) {
  std::vector<known_block> found;
  if (options_.read_only && !path_exists(options_.path)) return found;
  reader_lease const reader(*this);
  index_key const from(options_.format, first);
  // All zeros stands for the end: one past the last key there can be.
  bool const to_end = last == block_id{};
  index_key const to(options_.format, last);
  auto const take = [&](char const* table, bool condemned) {
    sqlite_statement select(*reader->connection,
                            format("SELECT {} FROM {} WHERE hash >= ?1 {} ORDER BY hash",
                                   sql_.row_columns(), table, to_end ? "" : "AND hash < ?2"));
    from.bind(select, 1);
    if (!to_end) to.bind(select, 2);
    while (select.step()) {
      if (auto const row = sql_.row(select)) found.push_back({*row, condemned});
    }
  };
  take("blocks", false);
  if (reader->condemned) take("condemned", true);
  // Who asks for a part next asks for another one.
  reader->connection->release_memory();
  return found;
}

// In steps of a read transaction each: one that stays would keep the log from being emptied and,
// where SQLite has no log, dumps from committing. False where `each` said so.
bool store_index::for_each_row(char const* table,
                               std::function<bool(stored_block const&)> const& each) {
  // The last key as it stands in the table, whatever it is; keys of blobs sort after those of text.
  std::optional<std::string> after;
  std::vector<stored_block> rows;
  do {
    rows.clear();
    {
      reader_lease const reader(*this);
      sqlite_statement select(*reader->connection,
                              format("SELECT {} FROM {} {} ORDER BY hash LIMIT ?2",
                                     sql_.row_columns(), table, after ? "WHERE hash > ?1" : ""));
      auto const from = std::exchange(after, std::nullopt);
      bool const text = options_.format == store_format::loose;
      if (from && text) select.bind(1, std::string_view(*from));
      if (from && !text) select.bind(1, as_bytes(*from));
      select.bind(2, static_cast<std::int64_t>(limits::index_rows_per_step));
      std::size_t count = 0;
      std::string last;
      while (select.step()) {
        if (++count == limits::index_rows_per_step) {
          last = text ? select.text(0) : as_text(select.blob(0));
        }
        if (auto const row = sql_.row(select)) rows.push_back(*row);
      }
      if (count == limits::index_rows_per_step) after = std::move(last);
      reader->connection->release_memory();
    }
    for (auto const& row : rows) {
      if (!each(row)) return false;
    }
  } while (after);
  return true;
}

void store_index::list(std::function<void(stored_block const&)> const& each) {
  if (options_.read_only && !path_exists(options_.path)) return;
  (void)for_each_row("blocks", [&](stored_block const& row) {
    each(row);
    return true;
  });
}

void store_index::for_each_known(std::function<bool(known_block const&)> const& each) {
  if (options_.read_only && !path_exists(options_.path)) return;
  auto const known = [&](bool condemned) {
    return [&each, condemned](stored_block const& row) { return each({row, condemned}); };
  };
  if (!for_each_row("blocks", known(false))) return;
  bool const both = reader_lease(*this)->condemned != nullptr;
  if (both) (void)for_each_row("condemned", known(true));
}

store_stats store_index::stats() {
  if (options_.read_only && !path_exists(options_.path)) return {};
  reader_lease const reader(*this);
  sqlite_statement select(*reader->connection,
                          "SELECT count(*), coalesce(sum(compressed_size), 0) FROM blocks");
  store_stats total;
  if (select.step()) {
    total.blocks = static_cast<std::uint64_t>(select.number(0));
    total.stored_bytes = static_cast<std::uint64_t>(select.number(1));
  }
  return total;
}

}  // namespace diskdump
