#include "store/file_windows.hpp"

#include <algorithm>
#include <iterator>

#include "base/limits.hpp"
#include "store/run_parallel.hpp"

namespace diskdump {

namespace {

// The smallest digest of a folder; of folder 65536, which is not there, all zeros.
block_id first_of(unsigned folder) noexcept {
  block_id id;
  id.bytes[0] = static_cast<std::byte>(folder >> 8);
  id.bytes[1] = static_cast<std::byte>(folder);
  return id;
}

// Files and rows of some folders, by id: both come in ascending order.
std::vector<upkeep_block> gather(loose_parts& parts, unsigned first, unsigned last, listing detail,
                                 folder_filter const& wanted) {
  std::vector<upkeep_block> found;
  // Files first: a row that appears meanwhile is then one of a file that is not listed, which the
  // caller looks for, and not a file without row.
  auto const add = [&](block_file const& file) {
    found.push_back(
        {.id = file.id, .stored_bytes = file.stored_bytes, .inode = file.inode, .has_file = true});
  };
  walk_block_files(*parts.files, parts.layout, first, last, detail, add, wanted);
  auto const files = found.size();
  auto const by_id = [](upkeep_block const& a, upkeep_block const& b) { return a.id < b.id; };
  for (auto const& known : parts.index->known_between(first_of(first), first_of(last))) {
    if (wanted && !wanted(folder_of(known.block.id))) continue;
    upkeep_block const sought{.id = known.block.id};
    auto const end = found.begin() + static_cast<std::ptrdiff_t>(files);
    auto at = std::lower_bound(found.begin(), end, sought, by_id);
    if (at == end || at->id != sought.id) {
      found.push_back(sought);
      at = std::prev(found.end());
    }
    if (known.condemned) {
      at->condemned = true;
    } else {
      at->has_row = true;
      at->row_bytes = known.block.stored_bytes;
    }
  }
  return found;
}

}  // namespace

void for_each_window(loose_parts& parts, unsigned first, unsigned last, listing detail,
                     unsigned threads, work_monitor& monitor,
                     std::function<void(std::vector<upkeep_block>&)> const& take,
                     folder_filter const& wanted) {
  std::vector<upkeep_block> window;
  auto const hand_over = [&] {
    std::sort(window.begin(), window.end(),
              [](upkeep_block const& a, upkeep_block const& b) { return a.inode < b.inode; });
    take(window);
    window.clear();
  };
  while (first < last && !monitor.stop) {
    // As many folders at once as there are threads to walk them.
    auto const tasks = std::max(threads, 1U);
    std::vector<std::vector<upkeep_block>> parts_found(tasks);
    run_parallel(tasks, threads, [&](std::size_t i) {
      auto const from = first + static_cast<unsigned>(i) * limits::upkeep_folders_per_task;
      auto const to = std::min(from + limits::upkeep_folders_per_task, last);
      if (from < to) parts_found[i] = gather(parts, from, to, detail, wanted);
    });
    for (auto& some : parts_found) {
      window.insert(window.end(), some.begin(), some.end());
    }
    first += tasks * limits::upkeep_folders_per_task;
    if (window.size() >= limits::upkeep_files_per_window) hand_over();
  }
  if (!monitor.stop && !window.empty()) hand_over();
}

}  // namespace diskdump
