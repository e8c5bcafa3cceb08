#include "store/sqlite.hpp"

#include <thread>

#include "base/format.hpp"
#include "base/limits.hpp"

namespace diskdump {

sqlite_connection::sqlite_connection(std::string const& target, int flags, std::string shown,
                                     std::chrono::milliseconds wait_max)
    : shown_(std::move(shown)) {
  sqlite3* db = nullptr;
  // Each connection is guarded by our own mutex.
  int const result = ::sqlite3_open_v2(target.c_str(), &db, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  handle_.reset(db);
  check(result);
  ::sqlite3_extended_result_codes(db, 1);
  wait_max_ = wait_max;
  check(::sqlite3_busy_handler(db, &sqlite_connection::on_busy, this));
}

// SQLite's own handler sleeps up to 0.1 s between tries: a waiter would hardly ever find the short
// gaps between two steps of a collector.
int sqlite_connection::on_busy(void* self, int tries) {
  auto& c = *static_cast<sqlite_connection*>(self);
  auto const now = std::chrono::steady_clock::now();
  if (tries == 0) c.waiting_since_ = now;
  if (now - c.waiting_since_ >= c.wait_max_) return 0;
  std::this_thread::sleep_for(limits::index_busy_pause);
  return 1;
}

error sqlite_connection::failure(int result) const {
  auto const text = format("SQLite: {} ({})", ::sqlite3_errstr(result & 0xff),
                           handle_ ? ::sqlite3_errmsg(handle_.get()) : "no memory");
  switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return error(store_errc::index_busy, severity::permanent)
          .path(shown_)
          .cause(text)
          .remedy("wait for the other program to end, then run it again");
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_SCHEMA:
      return error(store_errc::damaged_index, severity::corruption)
          .path(shown_)
          .cause(text)
          .remedy(
              "run diskdump reindex, which moves it aside and builds it again from the block "
              "files");
    default: {
      // The second one: no room for the index of the log, which SQLite maps into memory.
      bool const full = (result & 0xff) == SQLITE_FULL || result == SQLITE_IOERR_SHMSIZE;
      return error(full ? store_errc::store_full : store_errc::cannot_write, severity::permanent)
          .path(shown_)
          .cause(text)
          .remedy("free space there or check its permissions and its disk");
    }
  }
}

void sqlite_connection::check(int result) const {
  if (result != SQLITE_OK) throw failure(result);
}

void sqlite_connection::execute(char const* sql) const {
  check(::sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr));
}

std::int64_t sqlite_connection::query_number(char const* sql) const {
  sqlite_statement statement(*this, sql);
  return statement.step() ? statement.number(0) : 0;
}

std::string sqlite_connection::query_text(char const* sql) const {
  sqlite_statement statement(*this, sql);
  return statement.step() ? std::string(statement.text(0)) : std::string();
}

sqlite_statement::sqlite_statement(sqlite_connection const& connection, std::string_view sql)
    : connection_(&connection) {
  sqlite3_stmt* prepared = nullptr;
  connection.check(::sqlite3_prepare_v3(connection.handle(), sql.data(),
                                        static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                        &prepared, nullptr));
  handle_.reset(prepared);
}

void sqlite_statement::bind(int at, std::string_view text) {
  connection_->check(::sqlite3_bind_text(handle_.get(), at, text.data(),
                                         static_cast<int>(text.size()), SQLITE_STATIC));
}

void sqlite_statement::bind(int at, byte_view blob) {
  connection_->check(::sqlite3_bind_blob(handle_.get(), at, blob.data(),
                                         static_cast<int>(blob.size()), SQLITE_STATIC));
}

void sqlite_statement::bind(int at, std::int64_t number) {
  connection_->check(::sqlite3_bind_int64(handle_.get(), at, number));
}

bool sqlite_statement::step() {
  int const result = ::sqlite3_step(handle_.get());
  if (result == SQLITE_ROW) return true;
  reset();
  if (result != SQLITE_DONE) throw connection_->failure(result);
  return false;
}

std::string_view sqlite_statement::text(int column) const noexcept {
  auto const* const bytes = ::sqlite3_column_text(handle_.get(), column);
  if (bytes == nullptr) return {};
  return {reinterpret_cast<char const*>(bytes),
          static_cast<std::size_t>(::sqlite3_column_bytes(handle_.get(), column))};
}

byte_view sqlite_statement::blob(int column) const noexcept {
  auto const* const bytes = ::sqlite3_column_blob(handle_.get(), column);
  if (bytes == nullptr) return {};
  return {static_cast<std::byte const*>(bytes),
          static_cast<std::size_t>(::sqlite3_column_bytes(handle_.get(), column))};
}

sqlite_transaction::sqlite_transaction(sqlite_connection const& connection, char const* begin)
    : connection_(connection) {
  connection_.execute(begin);
}

sqlite_transaction::~sqlite_transaction() {
  // The failure that brought us here is the one to report.
  if (open_) (void)::sqlite3_exec(connection_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void sqlite_transaction::commit() {
  connection_.execute("COMMIT");
  open_ = false;
}

}  // namespace diskdump
