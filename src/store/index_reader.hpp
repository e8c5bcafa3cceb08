// The index's connections for queries, and the statements that more than one file of it uses.
// Internal to store_index.
#pragma once

#include <memory>
#include <string_view>

#include "store/index.hpp"

namespace diskdump {

inline constexpr char const* sql_select_row = "SELECT 1 FROM blocks WHERE hash = ?1";
// Both of our own tables, beside the one of 0.1.x, are there.
inline constexpr char const* sql_count_own_tables =
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('condemned', "
    "'collections')";

[[nodiscard]] bool path_exists(std::string const& path) noexcept;

// A connection for queries with its statements.
struct store_index::reader {
  explicit reader(index_options const& options);

  std::unique_ptr<sqlite_connection> connection;
  sqlite_statement begin;
  sqlite_statement commit;
  sqlite_statement select;
  std::unique_ptr<sqlite_statement> condemned;  // none in a database of 0.1.x
};

// Takes a reader out of the pool, or makes one, and puts it back.
class store_index::reader_lease {
 public:
  explicit reader_lease(store_index& index);
  ~reader_lease();
  reader_lease(reader_lease const&) = delete;
  reader_lease& operator=(reader_lease const&) = delete;

  reader* operator->() const noexcept { return reader_.get(); }

 private:
  store_index& index_;
  std::unique_ptr<reader> reader_;
};

}  // namespace diskdump
