// A store's block files beside what the index knows, in windows that fit into memory, each in about
// the order in which the files lie on the disk. Blocking. Internal to src/store.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "store/loose_parts.hpp"
#include "store/monitor.hpp"

namespace diskdump {

struct upkeep_block {
  block_id id;
  std::uint64_t stored_bytes = 0;  // of the file, with listing::sizes
  std::uint64_t row_bytes = 0;     // that the row says
  std::uint64_t inode = 0;
  bool has_file = false;
  bool has_row = false;
  bool condemned = false;
};

// Hands every block of the folders from `first` up to `last` that has a file or a row to `take`, at
// most about limits::upkeep_files_per_window at a time. Ends early when told to stop. `wanted`, if
// given, says which folders to look at.
void for_each_window(loose_parts& parts, unsigned first, unsigned last, listing detail,
                     unsigned threads, work_monitor& monitor,
                     std::function<void(std::vector<upkeep_block>&)> const& take,
                     folder_filter const& wanted = {});

}  // namespace diskdump
