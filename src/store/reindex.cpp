#include "store/reindex.hpp"

#include <atomic>
#include <cstdio>
#include <map>
#include <mutex>
#include <optional>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/io_errc.hpp"
#include "store/block_check.hpp"
#include "store/lease.hpp"
#include "store/lock_file.hpp"
#include "store/run_parallel.hpp"
#include "store/store_error.hpp"
#include "store/store_parts.hpp"

namespace diskdump {

namespace {

constexpr unsigned moved_copies_max = 1000;

// REQUIRES: open.lock is held, so that nobody moves the file meanwhile: who closes a database whose
// name is another's by now takes the log of that one along.
bool can_be_used(std::string const& path, store_format format) {
  std::uint64_t rebuilt = 0;
  auto const leave_empty = [](std::function<void(stored_block const&)> const&) {};
  try {
    return store_index(
               {.path = path, .format = format, .wait_max = store_open_options().index_wait_max},
               leave_empty, rebuilt)
        .is_sound();
  } catch (error const& failure) {
    if (failure.code() != store_errc::damaged_index) throw;
    return false;
  }
}

lock_file lock_out_gc(std::string const& blockstore) {
  auto const path = blockstore + "/gc.lock";
  auto lock = lock_file::try_for(path);
  if (lock) return std::move(*lock);
  throw error(store_errc::busy, severity::permanent)
      .path(path)
      .cause(
          "the index is damaged and has to be made anew, but gc, prune or another reindex is "
          "running")
      .remedy("run diskdump reindex again when it has ended");
}

std::string move_away(store_parts const& store, std::string const& path) {
  auto const name = store.layout.in(path.substr(path.rfind('/') + 1));
  for (unsigned copy = 1; copy <= moved_copies_max; ++copy) {
    auto const damaged = format(".damaged-{}", copy);
    auto const target = path + damaged;
    if (!writing([&] { return store.files->rename_noreplace(name, name + damaged); })) continue;
    // They belong to it, and must not be applied to its successor.
    for (auto const* const suffix : {"-wal", "-shm", "-journal"}) {
      (void)::rename((path + suffix).c_str(), (target + suffix).c_str());
    }
    return target;
  }
  throw error(store_errc::cannot_write, severity::permanent)
      .path(path)
      .cause(format("there are {} damaged copies of it already", moved_copies_max))
      .remedy("remove the files *.damaged-*");
}

// Gets an index that cannot be used out of the way, and gc.lock with it. A dump or a gc that holds
// it open would go on in a file that nobody reads. Empty where the index can be used.
std::string replace_unusable_index(std::string const& base, file_system* files,
                                   std::optional<lock_file>& gc_lock) {
  auto const store = open_parts(base, {.read_only = true, .files = files});
  auto const path = index_path(store.blockstore, store.format);
  auto const open_lock = store.blockstore + "/open.lock";
  {
    auto const lock = lock_file::wait_for(open_lock);
    if (can_be_used(path, store.format)) return {};
  }
  gc_lock.emplace(lock_out_gc(store.blockstore));
  auto const lock = lock_file::wait_for(open_lock);
  // Another reindex may have been faster.
  if (can_be_used(path, store.format)) return {};
  if (!held_leases(base).empty()) {
    throw error(store_errc::busy, severity::permanent)
        .path(path)
        .cause("it is damaged and has to be made anew, but dumps, restores or verify are running")
        .remedy("run diskdump reindex again when they have ended");
  }
  return move_away(store, path);
}

// What names and sizes say.
block_condition condition_by_size(upkeep_block const& block) {
  using enum block_condition::kind;
  if (!block.has_file) return {absent, "", 0, 0};
  return {block.stored_bytes == 0 ? empty : good, "", block.stored_bytes, 0};
}

class reindexer {
 public:
  reindexer(std::string const& base, reindex_options const& options, work_monitor& monitor)
      : options_(options), monitor_(monitor) {
    report_.moved_aside = replace_unusable_index(base, options.files, gc_lock_);
    parts_.emplace(open_parts(
        base, {.fill_absent_index = false, .log = options_.log, .files = options_.files}));
  }

  reindex_report run();

 private:
  void run_over_all();
  void look_at(upkeep_block const& block, block_condition const& condition);
  void settle();

  reindex_options const& options_;
  work_monitor& monitor_;
  std::optional<lock_file> gc_lock_;  // where the index was made anew, until it is closed
  std::optional<store_parts> parts_;
  reindex_report report_;

  std::mutex mutex_;
  // Of this window: blocks whose row is missing or has another size.
  struct without_true_row {
    stored_block block;
    std::string holder;  // where the whole block was found
    bool has_row;
  };
  std::map<std::pair<block_id, block_place>, without_true_row> whole_;
  std::vector<block_id> gone_;  // of this window: their file is gone
  std::atomic<std::uint64_t> files_{0};
  std::atomic<std::uint64_t> stored_bytes_{0};
  std::atomic<std::uint64_t> set_aside_{0};
};

void reindexer::look_at(upkeep_block const& block, block_condition const& condition) {
  ++monitor_.done;
  if (condition.what == block_condition::kind::absent) {
    // Just collected, unless a row says that it is there.
    if (!block.has_row || block.has_file) return;
    std::lock_guard const lock(mutex_);
    gone_.push_back(block.id);
    return;
  }
  ++files_;
  stored_bytes_ += condition.stored_bytes;
  monitor_.bytes_done += condition.stored_bytes;
  if (condition.bad()) {
    // Without a row it is what a dump left that was cut off: gc takes it.
    if (block.has_row && set_aside(*parts_, block.id)) ++set_aside_;
    return;
  }
  if (block.condemned || (block.has_row && block.row_bytes == condition.stored_bytes)) return;
  stored_block const found{block.id, condition.stored_bytes, block.place};
  auto holder = parts_->shelf->holder(found);
  std::lock_guard const lock(mutex_);
  whole_.insert_or_assign({block.id, block.place},
                          without_true_row{found, std::move(holder), block.has_row});
}

// A file without a row may belong to a running dump whose barrier has not come yet: it gets its row
// only once it is durable. What was found is, after the sync here; but a collector may have taken
// it away, and a dump may have put the block again since: that one's barrier gives the row.
void reindexer::settle() {
  std::vector<stored_block> found;
  found.reserve(whole_.size());
  for (auto const& [place, whole] : whole_) {
    if (!whole.holder.empty()) found.push_back(whole.block);
  }
  auto const is_the_same = [this](stored_block const& block) {
    auto const& whole = whole_.at({block.id, block.place});
    if (parts_->shelf->holder(block) != whole.holder) return false;
    ++(whole.has_row ? report_.rows_corrected : report_.rows_added);
    return true;
  };
  auto const row_is_true = [this](block_id const& id) {
    auto const row = parts_->index->rows_of(std::span(&id, 1), false).front();
    try {
      return row && parts_->shelf->exists(*row);
    } catch (error const& failure) {
      // Not found where it should be, and a bad sector says why.
      if (!is_medium_error(failure)) throw;
      return false;
    }
  };
  if (!found.empty()) {
    writing([&] { parts_->files->sync(sync_scope::file_system, ""); });
  }
  auto const in_steps = [](auto const& all, auto const& action) {
    std::span rest(all);
    while (!rest.empty()) {
      auto const step = rest.first(std::min(rest.size(), limits::index_rows_per_step));
      rest = rest.subspan(step.size());
      action(step);
    }
  };
  in_steps(found, [&](auto step) { parts_->index->adopt(step, is_the_same); });
  in_steps(gone_, [&](auto step) {
    report_.rows_removed += parts_->index->remove_unless(step, row_is_true);
  });
  whole_.clear();
  gone_.clear();
}

void reindexer::run_over_all() {
  upkeep_request request;
  request.detail = options_.quick ? listing::sizes : listing::names;
  parts_->shelf->for_each_window(
      request, options_.threads, monitor_, [this](std::vector<upkeep_block>& window) {
        if (options_.quick) {
          run_parallel(window.size(), options_.threads, [&](std::size_t i) {
            if (!monitor_.stop) look_at(window[i], condition_by_size(window[i]));
          });
        } else {
          examine_window(
              *parts_->shelf, window, options_.threads, monitor_,
              [this](auto const& block, auto const& condition) { look_at(block, condition); });
        }
        settle();
      });
}

reindex_report reindexer::run() {
  auto const before = parts_->index->stats();
  report_.rows_before = before.blocks;
  monitor_.enter(options_.quick ? "looking at block files" : "reading blocks", before.blocks,
                 options_.quick ? 0 : before.stored_bytes);
  run_over_all();
  // A block whose row went may stand somewhere else as well, where it was passed over.
  if (parts_->format == store_format::pack && set_aside_ + report_.rows_removed > 0) {
    files_ = 0;
    stored_bytes_ = 0;
    run_over_all();
  }
  report_.files = files_;
  report_.stored_bytes = stored_bytes_;
  report_.blocks_set_aside = set_aside_;
  report_.rows_removed += set_aside_;
  report_.stopped = monitor_.stop;
  return report_;
}

}  // namespace

reindex_report rebuild_index(std::string const& base, reindex_options const& options,
                             work_monitor& monitor) {
  return reindexer(base, options, monitor).run();
}

}  // namespace diskdump
