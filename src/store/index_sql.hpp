// How the index says the same in the two formats of a store (FORMAT.md, "Index" and "Packs"): loose
// ones have text keys, as 0.1.x made them, packs have keys of 32 bytes and a place for each block.
// Internal to store_index.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "store/block_store.hpp"
#include "store/sqlite.hpp"

namespace diskdump {

inline constexpr char const* sql_select_row = "SELECT 1 FROM blocks WHERE hash = ?1";
inline constexpr char const* sql_select_condemned = "SELECT 1 FROM condemned WHERE hash = ?1";
inline constexpr char const* sql_delete_row = "DELETE FROM blocks WHERE hash = ?1";
inline constexpr char const* sql_delete_rows = "DELETE FROM blocks WHERE hash >= ?1 AND hash <= ?2";
inline constexpr char const* sql_delete_condemned = "DELETE FROM condemned WHERE hash = ?1";
// Both of our own tables, beside the one of 0.1.x, are there.
inline constexpr char const* sql_count_own_tables =
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('condemned', "
    "'collections')";

// A digest as a key. It must live as long as the statement that it is bound to uses it.
class index_key {
 public:
  index_key(store_format of, block_id const& id) : id_(id) {
    if (of == store_format::loose) hex_ = id.hex();
  }
  void bind(sqlite_statement& statement, int at) const {
    if (hex_.empty()) {
      statement.bind(at, byte_view(id_.bytes));
    } else {
      statement.bind(at, std::string_view(hex_));
    }
  }

 private:
  block_id id_;
  std::string hex_;
};

class index_sql {
 public:
  explicit index_sql(store_format of) : format_(of) {}

  [[nodiscard]] char const* create_blocks() const noexcept;
  [[nodiscard]] char const* create_own_tables() const noexcept;

  // ?1 the key, ?2 the size, and ?3 ?4 the place: what bind_row() binds.
  [[nodiscard]] std::string insert_row(std::string_view or_what) const;
  // Adds ?5, ?6: stray, collection.
  [[nodiscard]] std::string insert_condemned(std::string_view or_what) const;
  // Copies the rows from ?1 to ?2 there, both of them with it, for collection ?3.
  [[nodiscard]] std::string condemn_rows() const;
  // "hash, compressed_size, pack, offset": what row() reads from column `first` on.
  [[nodiscard]] char const* row_columns() const noexcept;

  void bind_row(sqlite_statement& statement, index_key const& key, stored_block const& block) const;
  // nullopt for a key that is no digest: it was not written by diskdump and names no block.
  [[nodiscard]] std::optional<stored_block> row(sqlite_statement const& statement) const;
  [[nodiscard]] std::optional<block_id> key(sqlite_statement const& statement, int column) const;

 private:
  store_format format_;
};

}  // namespace diskdump
