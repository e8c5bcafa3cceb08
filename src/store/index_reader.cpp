#include "store/index_reader.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/format.hpp"
#include "base/limits.hpp"

namespace diskdump {

namespace {

// A path as the URI that SQLite reads it back from.
std::string uri_of(std::string const& path, std::string_view query) {
  std::string uri = "file:";
  for (unsigned char const c : path) {
    bool const plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '/' || c == '.' || c == '-' || c == '_';
    uri += plain ? std::string(1, static_cast<char>(c)) : format("%{:02X}", c);
  }
  return uri + std::string(query);
}

std::unique_ptr<sqlite_connection> open_reader(index_options const& options) {
  if (!options.read_only) {
    return std::make_unique<sqlite_connection>(options.path, SQLITE_OPEN_READWRITE, options.path,
                                               options.wait_max);
  }
  // A database in WAL mode needs its -shm file, which cannot be made on a read-only file system:
  // there nobody writes either, so it is opened as immutable.
  try {
    auto plain = std::make_unique<sqlite_connection>(uri_of(options.path, "?mode=ro"),
                                                     SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
                                                     options.path, options.wait_max);
    (void)plain->query_number("SELECT count(*) FROM sqlite_master");
    return plain;
  } catch (error const& failure) {
    // What is in the log would not be seen: rows would be missing that are there.
    struct stat log{};
    bool const logged = ::stat((options.path + "-wal").c_str(), &log) == 0 && log.st_size > 0;
    if (failure.code() != store_errc::cannot_write || logged) throw;
  }
  return std::make_unique<sqlite_connection>(uri_of(options.path, "?immutable=1"),
                                             SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, options.path,
                                             options.wait_max);
}

}  // namespace

bool path_exists(std::string const& path) noexcept {
  return ::access(path.c_str(), F_OK) == 0 || errno != ENOENT;
}

store_index::reader::reader(index_options const& options, index_sql const& sql)
    : connection(open_reader(options)),
      begin(*connection, "BEGIN"),
      commit(*connection, "COMMIT"),
      select(*connection, sql_select_row),
      select_whole(*connection,
                   format("SELECT {} FROM blocks WHERE hash = ?1", sql.row_columns())) {
  if (connection->query_number(sql_count_own_tables) == 2) {
    condemned = std::make_unique<sqlite_statement>(*connection, sql_select_condemned);
    condemned_whole = std::make_unique<sqlite_statement>(
        *connection, format("SELECT {} FROM condemned WHERE hash = ?1", sql.row_columns()));
  }
}

store_index::reader_lease::reader_lease(store_index& index) : index_(index) {
  {
    std::lock_guard const lock(index_.readers_mutex_);
    if (!index_.idle_readers_.empty()) {
      reader_ = std::move(index_.idle_readers_.back());
      index_.idle_readers_.pop_back();
    }
  }
  if (!reader_) reader_ = std::make_unique<reader>(index_.options_, index_.sql_);
}

store_index::reader_lease::~reader_lease() {
  std::lock_guard const lock(index_.readers_mutex_);
  if (index_.idle_readers_.size() < limits::index_readers_max) {
    index_.idle_readers_.push_back(std::move(reader_));
  }
}

}  // namespace diskdump
