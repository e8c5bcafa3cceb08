// SQLite as far as the index needs it: a connection and prepared statements that throw the store's
// errors. The only header that includes sqlite3.h. One thread at a time per connection. Internal to
// src/store.
#pragma once

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "store/block_store.hpp"

namespace diskdump {

class sqlite_connection {
 public:
  // `target` is a path, or a URI ("file:…?mode=ro") when flags hold SQLITE_OPEN_URI; `shown` is the
  // path for messages.
  sqlite_connection(std::string const& target, int flags, std::string shown,
                    std::chrono::milliseconds wait_max);

  sqlite_connection(sqlite_connection const&) = delete;
  sqlite_connection& operator=(sqlite_connection const&) = delete;

  // index_busy, damaged_index or cannot_write for a result code of this connection.
  [[nodiscard]] error failure(int result) const;
  void check(int result) const;
  void execute(char const* sql) const;
  // The first column of the first row; 0 where there is none.
  [[nodiscard]] std::int64_t query_number(char const* sql) const;
  [[nodiscard]] std::string query_text(char const* sql) const;
  // Rows that the last statement that was not a SELECT added, changed or removed.
  [[nodiscard]] int changes() const noexcept { return ::sqlite3_changes(handle_.get()); }

  // Gives back the pages that it keeps in memory but does not use.
  void release_memory() const noexcept { (void)::sqlite3_db_release_memory(handle_.get()); }

  [[nodiscard]] sqlite3* handle() const noexcept { return handle_.get(); }

 private:
  struct closer {
    void operator()(sqlite3* db) const noexcept { ::sqlite3_close_v2(db); }
  };
  static int on_busy(void* self, int tries);

  std::unique_ptr<sqlite3, closer> handle_;
  std::string shown_;
  std::chrono::milliseconds wait_max_{};
  std::chrono::steady_clock::time_point waiting_since_;
};

class sqlite_statement {
 public:
  sqlite_statement(sqlite_connection const& connection, std::string_view sql);

  // REQUIRES: `text` and `blob` live until the next step() has returned false or reset() was
  // called.
  void bind(int at, std::string_view text);
  void bind(int at, byte_view blob);
  void bind(int at, std::int64_t number);
  // True while there is a row; false at the end, and then it is reset.
  bool step();
  void reset() noexcept { ::sqlite3_reset(handle_.get()); }
  [[nodiscard]] std::int64_t number(int column) const noexcept {
    return ::sqlite3_column_int64(handle_.get(), column);
  }
  // Valid until the next step() or reset().
  [[nodiscard]] std::string_view text(int column) const noexcept;
  [[nodiscard]] byte_view blob(int column) const noexcept;

 private:
  struct finalizer {
    void operator()(sqlite3_stmt* s) const noexcept { ::sqlite3_finalize(s); }
  };
  sqlite_connection const* connection_;
  std::unique_ptr<sqlite3_stmt, finalizer> handle_;
};

// A transaction that is rolled back unless committed.
class sqlite_transaction {
 public:
  // `begin` is "BEGIN" or "BEGIN IMMEDIATE".
  sqlite_transaction(sqlite_connection const& connection, char const* begin);
  ~sqlite_transaction();
  sqlite_transaction(sqlite_transaction const&) = delete;
  sqlite_transaction& operator=(sqlite_transaction const&) = delete;
  void commit();

 private:
  sqlite_connection const& connection_;
  bool open_ = true;
};

}  // namespace diskdump
