// verify, phase 1: takes windows of blocks in the order of the disk; gives marks (whole, bad)
// and damages.
#include <algorithm>

#include "store/run_parallel.hpp"
#include "store/verify_run.hpp"

namespace diskdump {

void verify_run::check_blocks() {
  auto const known = parts_.index->stats();
  auto const part = static_cast<double>(folders_) / block_folders;
  auto const scaled = [part](std::uint64_t n) {
    return static_cast<std::uint64_t>(static_cast<double>(n) * part);
  };
  monitor_.enter("verifying blocks", options_.manifest ? marks_.size() : scaled(known.blocks),
                 options_.manifest ? 0 : scaled(known.stored_bytes));

  std::vector<bool> wanted_folders;
  upkeep_request request;
  request.without_row = false;
  request.rows = known.blocks;
  if (options_.manifest) {
    wanted_folders.resize(block_folders);
    marks_.for_each(
        [&](block_id const& id, std::uint8_t) { wanted_folders[folder_of(id)] = true; });
    request.wanted = [&](unsigned folder) { return wanted_folders[folder]; };
  }
  auto const take = [this](std::vector<upkeep_block>& window) {
    if (options_.manifest) {
      std::erase_if(window, [this](upkeep_block const& b) { return !marks_.contains(b.id); });
    }
    examine_window(
        *parts_.shelf, window, options_.threads, monitor_,
        [this](auto const& block, auto const& condition) { check_block(block, condition); });
  };
  auto const end = first_folder_ + folders_;
  request.first_folder = first_folder_;
  request.last_folder = std::min(end, block_folders);
  parts_.shelf->for_each_window(request, options_.threads, monitor_, take);
  if (end > block_folders) {
    request.first_folder = 0;
    request.last_folder = end - block_folders;
    parts_.shelf->for_each_window(request, options_.threads, monitor_, take);
  }
}

void verify_run::check_block(upkeep_block const& block, block_condition const& condition) {
  if (condition.what == block_condition::kind::absent) {
    found_missing(block);
    return;
  }
  ++blocks_;
  ++monitor_.done;
  stored_bytes_ += condition.stored_bytes;
  content_bytes_ += condition.content_bytes;
  monitor_.bytes_done += condition.stored_bytes;
  if (condition.good()) {
    (void)marks_.add(block.id, whole);
    if (!block.has_row && !block.condemned) ++unindexed_;
    return;
  }
  (void)marks_.add(block.id, bad);
  if (block.has_row) {
    report_damage(block.as_stored(), condition);
  } else {
    ++bad_without_row_;  // damage only if a manifest names it
  }
}

// A row without its file, unless a collector is just taking the block away: it takes the row first.
// What it has condemned is not asked for, and contains() would tell of it in a read-only store.
void verify_run::found_missing(upkeep_block const& block) {
  if (!block.has_row) return;
  if (!parts_.index->rows_of(std::span(&block.id, 1), false).front()) return;
  (void)marks_.add(block.id, bad);
  report_damage(block.as_stored(), {block_condition::kind::absent, "", 0, 0});
}

}  // namespace diskdump
