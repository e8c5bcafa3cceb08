#include "store/block_shelf.hpp"

#include "base/limits.hpp"
#include "store/run_parallel.hpp"

namespace diskdump {

void examine_window(block_shelf& shelf, std::span<upkeep_block const> window, unsigned threads,
                    work_monitor const& monitor,
                    std::function<void(upkeep_block const&, block_condition const&)> const& each) {
  std::vector<std::span<upkeep_block const>> tasks;
  while (!window.empty()) {
    std::size_t count = 0;
    std::uint64_t bytes = 0;
    while (count < window.size() && count < limits::upkeep_blocks_per_task &&
           bytes < limits::upkeep_bytes_per_task &&
           window[count].place.pack == window[0].place.pack) {
      bytes += std::max<std::uint64_t>(window[count].row_bytes, limits::block_bytes_min);
      ++count;
    }
    tasks.push_back(window.first(count));
    window = window.subspan(count);
  }
  run_parallel(tasks.size(), threads, [&](std::size_t i) {
    if (monitor.stop) return;
    shelf.examine(tasks[i], [&](upkeep_block const& block, block_condition const& condition) {
      if (!monitor.stop) each(block, condition);
    });
  });
}

}  // namespace diskdump
