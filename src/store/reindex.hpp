// Rebuilds the index from the block files, beside running dumps: rows without a whole file go,
// whole files without a row get one once they are durable. A blocks.db that is no database is moved
// away first, which nothing else that collects or makes an index may run beside. Blocking.
#pragma once

#include <cstdint>
#include <string>

#include "base/log.hpp"
#include "io/file_system.hpp"
#include "store/block_store.hpp"
#include "store/monitor.hpp"

namespace diskdump {

struct reindex_options {
  bool quick = false;  // trust names and sizes: the content is not read
  unsigned threads = 1;
  log_sink* log = nullptr;
  file_system* files = nullptr;  // rooted at DIR; nullptr: the real one
};

struct reindex_report {
  std::uint64_t files = 0;
  std::uint64_t stored_bytes = 0;
  std::uint64_t rows_before = 0;
  std::uint64_t rows_added = 0;
  std::uint64_t rows_removed = 0;      // their file is gone or bad
  std::uint64_t rows_corrected = 0;    // the size was another
  std::uint64_t blocks_set_aside = 0;  // bad files, now in quarantine
  std::string moved_aside;             // where the unusable blocks.db went
  bool stopped = false;
};

[[nodiscard]] reindex_report rebuild_index(std::string const& base, reindex_options const& options,
                                           work_monitor& monitor);

}  // namespace diskdump
