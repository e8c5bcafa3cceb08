#include "store/index_sql.hpp"

#include <algorithm>

#include "base/format.hpp"

namespace diskdump {

char const* index_sql::create_blocks() const noexcept {
  return format_ == store_format::loose
             ? "CREATE TABLE blocks (hash TEXT PRIMARY KEY, compressed_size INTEGER NOT NULL)"
             : "CREATE TABLE blocks (hash BLOB PRIMARY KEY, compressed_size INTEGER NOT NULL, "
               "pack INTEGER NOT NULL, offset INTEGER NOT NULL) WITHOUT ROWID";
}

// In a loose store they stand beside the table of 0.1.x, which does not look at them.
char const* index_sql::create_own_tables() const noexcept {
  return format_ == store_format::loose
             ? "CREATE TABLE IF NOT EXISTS condemned (hash TEXT PRIMARY KEY, compressed_size "
               "INTEGER NOT NULL, stray INTEGER NOT NULL, collection INTEGER NOT NULL) WITHOUT "
               "ROWID;"
               "CREATE TABLE IF NOT EXISTS collections (number INTEGER PRIMARY KEY, leases TEXT)"
             : "CREATE TABLE IF NOT EXISTS condemned (hash BLOB PRIMARY KEY, compressed_size "
               "INTEGER NOT NULL, pack INTEGER NOT NULL, offset INTEGER NOT NULL, stray INTEGER "
               "NOT NULL, collection INTEGER NOT NULL) WITHOUT ROWID;"
               "CREATE TABLE IF NOT EXISTS collections (number INTEGER PRIMARY KEY, leases TEXT)";
}

std::string index_sql::insert_row(std::string_view or_what) const {
  return format_ == store_format::loose
             ? format("INSERT OR {} INTO blocks (hash, compressed_size) VALUES (?1, ?2)", or_what)
             : format(
                   "INSERT OR {} INTO blocks (hash, compressed_size, pack, offset) VALUES (?1, "
                   "?2, ?3, ?4)",
                   or_what);
}

std::string index_sql::insert_condemned(std::string_view or_what) const {
  return format_ == store_format::loose
             ? format(
                   "INSERT OR {} INTO condemned (hash, compressed_size, stray, collection) "
                   "SELECT ?1, ?2, ?5, ?6",
                   or_what)
             : format(
                   "INSERT OR {} INTO condemned (hash, compressed_size, pack, offset, stray, "
                   "collection) SELECT ?1, ?2, ?3, ?4, ?5, ?6",
                   or_what);
}

std::string index_sql::condemn_rows() const {
  auto const* const columns = format_ == store_format::loose
                                  ? "hash, compressed_size"
                                  : "hash, compressed_size, pack, offset";
  return format(
      "INSERT OR REPLACE INTO condemned ({0}, stray, collection) "
      "SELECT {0}, 0, ?3 FROM blocks WHERE hash >= ?1 AND hash <= ?2",
      columns);
}

char const* index_sql::row_columns() const noexcept {
  return format_ == store_format::loose ? "hash, compressed_size, 0, 0"
                                        : "hash, compressed_size, pack, offset";
}

void index_sql::bind_row(sqlite_statement& statement, index_key const& key,
                         stored_block const& block) const {
  key.bind(statement, 1);
  statement.bind(2, static_cast<std::int64_t>(block.stored_bytes));
  if (format_ == store_format::loose) return;
  statement.bind(3, std::int64_t{block.place.pack});
  statement.bind(4, std::int64_t{block.place.offset});
}

std::optional<block_id> index_sql::key(sqlite_statement const& statement, int column) const {
  if (format_ == store_format::loose) return block_id::from_hex(statement.text(column));
  auto const bytes = statement.blob(column);
  block_id id;
  if (bytes.size() != id.bytes.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  return id;
}

std::optional<stored_block> index_sql::row(sqlite_statement const& statement) const {
  auto const id = key(statement, 0);
  if (!id) return std::nullopt;
  return stored_block{*id,
                      static_cast<std::uint64_t>(statement.number(1)),
                      {static_cast<std::uint32_t>(statement.number(2)),
                       static_cast<std::uint32_t>(statement.number(3))}};
}

}  // namespace diskdump
