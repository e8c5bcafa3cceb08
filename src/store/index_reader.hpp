// The index's connections for queries, and the statements that more than one file of it uses.
// Internal to store_index.
#pragma once

#include <memory>
#include <string_view>

#include "store/index.hpp"

namespace diskdump {

[[nodiscard]] bool path_exists(std::string const& path) noexcept;

// A connection for queries with its statements.
struct store_index::reader {
  reader(index_options const& options, index_sql const& sql);

  std::unique_ptr<sqlite_connection> connection;
  sqlite_statement begin;
  sqlite_statement commit;
  sqlite_statement select;
  sqlite_statement select_whole;
  // None in a database of 0.1.x.
  std::unique_ptr<sqlite_statement> condemned;
  std::unique_ptr<sqlite_statement> condemned_whole;
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
