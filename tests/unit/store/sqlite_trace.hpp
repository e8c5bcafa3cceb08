// What SQLite is asked to do, on every connection that is opened while this object lives, as far as
// the thread that made it does it. One at a time.
#pragma once

#include <atomic>
#include <functional>
#include <string_view>
#include <thread>

#include "store/sqlite.hpp"
#include "store_support.hpp"

namespace diskdump {

class sqlite_trace {
 public:
  // Before a statement runs, for each row that it gives, and when it has ended. What these do with
  // SQLite themselves is not told.
  std::function<void(std::string_view sql)> begun;
  std::function<void(std::string_view sql)> row;
  std::function<void(std::string_view sql)> ended;

  sqlite_trace() {
    current_ = this;
    REQUIRE(::sqlite3_auto_extension(reinterpret_cast<void (*)()>(&attach)) == SQLITE_OK);
  }
  ~sqlite_trace() {
    ::sqlite3_reset_auto_extension();
    current_ = nullptr;
  }
  sqlite_trace(sqlite_trace const&) = delete;
  sqlite_trace& operator=(sqlite_trace const&) = delete;

 private:
  static int attach(sqlite3* db, char const**, void const*) {
    return ::sqlite3_trace_v2(db, SQLITE_TRACE_STMT | SQLITE_TRACE_ROW | SQLITE_TRACE_PROFILE,
                              &tell, nullptr);
  }

  static int tell(unsigned what, void*, void* statement, void*) {
    auto* const self = current_.load();
    if (self == nullptr || std::this_thread::get_id() != self->thread_ || self->telling_) return 0;
    auto const& told = what == SQLITE_TRACE_STMT  ? self->begun
                       : what == SQLITE_TRACE_ROW ? self->row
                                                  : self->ended;
    auto const* const sql = ::sqlite3_sql(static_cast<sqlite3_stmt*>(statement));
    if (!told || sql == nullptr) return 0;
    self->telling_ = true;
    told(sql);
    self->telling_ = false;
    return 0;
  }

  static inline std::atomic<sqlite_trace*> current_{nullptr};
  std::thread::id thread_ = std::this_thread::get_id();
  bool telling_ = false;
};

// Whether a row of the index was looked at, not something else that a statement gives.
[[nodiscard]] inline bool is_of_table(std::string_view sql) {
  return sql.find(" FROM blocks") != std::string_view::npos ||
         sql.find(" FROM condemned") != std::string_view::npos;
}

}  // namespace diskdump
