#include "store/loose_store.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/io_errc.hpp"
#include "store/block_check.hpp"
#include "store/lock_file.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

error as_error(std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (error const& known) {
    return known;
  } catch (...) {
    return error(store_errc::cannot_write, severity::permanent).cause(describe(failure));
  }
}

}  // namespace

// ---- Questions ----------------------------------------------------------------------------------

std::vector<bool> loose_store::missing(std::span<block_id const> ids) {
  std::vector<bool> answer(ids.size(), true);
  {
    // Before the index: a block leaves the epoch only when its row can be seen.
    std::lock_guard const lock(mutex_);
    if (!current_.empty() || !flushing_.empty()) {
      for (std::size_t i = 0; i < ids.size(); ++i) {
        answer[i] = !current_.contains(ids[i]) && !flushing_.contains(ids[i]);
      }
    }
  }
  parts_.index->find(ids, answer);
  return answer;
}

std::optional<byte_vector> loose_store::get(block_id const& id) {
  auto const hex = id.hex();
  auto frame = parts_.files->read(parts_.layout.block(hex), limits::stored_block_bytes_max + 1);
  if (frame && frame->size() > limits::stored_block_bytes_max) {
    throw error(store_errc::damaged_block, severity::corruption)
        .path(shown(hex))
        .cause(format("the file is longer than {} bytes", limits::stored_block_bytes_max))
        .remedy("run diskdump verify");
  }
  return frame;
}

void loose_store::list(std::function<void(stored_block const&)> const& each) {
  parts_.index->list(each);
}

// ---- Put ----------------------------------------------------------------------------------------

void loose_store::check_writable() const {
  if (!parts_.read_only) return;
  throw error(store_errc::cannot_write, severity::permanent)
      .path(parts_.blockstore)
      .cause("the store was opened for reading only");
}

std::string loose_store::shown(std::string const& hex) const {
  return store_layout(parts_.blockstore + "/").block(hex);
}

void loose_store::throw_if_lost() const {
  if (lost_) throw *lost_;
}

bool loose_store::put(block_id const& id, byte_view frame) {
  DISKDUMP_ASSERT(!frame.empty() && frame.size() <= limits::stored_block_bytes_max);
  check_writable();
  {
    std::lock_guard const lock(mutex_);
    throw_if_lost();
    if (current_.contains(id) || flushing_.contains(id)) return false;
  }
  auto const hex = id.hex();
  // Before the name is looked at: from here on no collector takes the file that has it.
  parts_.index->absolve(id);
  auto const temporary = parts_.scratch->next_path();
  auto const result = writing([&] {
    if (!parts_.files->create_exclusive(temporary, frame)) {
      throw cannot_write(EEXIST, "create", temporary);
    }
    try {
      return place(id, hex, frame, temporary);
    } catch (...) {
      remove_temporary(temporary);
      throw;
    }
  });
  if (result == settled::known) {
    remove_temporary(temporary);
    return false;
  }

  bool full = false;
  {
    std::lock_guard const lock(mutex_);
    throw_if_lost();
    bool const created = result == settled::created;
    auto const [at, is_new] =
        current_.try_emplace(id, fresh_block{frame.size(), created, created ? "" : temporary});
    if (is_new) {
      current_bytes_ += frame.size();
    } else if (!created) {
      remove_temporary(temporary);  // another thread found it at the same time
    }
    full = current_.size() >= limits::epoch_blocks_max || current_bytes_ >= limits::epoch_bytes_max;
  }
  if (full) barrier();
  return result == settled::created;
}

void loose_store::remove_temporary(std::string const& path) noexcept {
  try {
    (void)parts_.files->remove(path);
  } catch (std::exception const&) {
    // It goes with the scratch folder.
  }
}

// Gives the block its name, unless a good copy has it. A file that is there although neither the
// index nor this process knows it is not trusted: a power cut can have torn it.
loose_store::settled loose_store::place(block_id const& id, std::string const& hex, byte_view frame,
                                        std::string const& temporary) {
  for (unsigned tries = 0; tries < limits::put_tries_max; ++tries) {
    if (rename_into_place(hex, temporary)) return settled::created;
    {
      std::lock_guard const lock(mutex_);
      if (current_.contains(id) || flushing_.contains(id)) return settled::known;
    }
    if (parts_.index->contains(id)) return settled::known;
    switch (examine(id)) {
      case found::good:
        return settled::rescued;
      case found::bad:
        if (replace_bad(id, hex, temporary)) return settled::created;
        break;
      case found::absent:
        break;  // removed meanwhile
    }
  }
  throw error(store_errc::cannot_write, severity::permanent)
      .path(shown(hex))
      .cause("other programs keep creating and removing this file");
}

bool loose_store::rename_into_place(std::string const& hex, std::string const& temporary) {
  auto const target = parts_.layout.block(hex);
  make_folder(hex);
  try {
    return parts_.files->rename_noreplace(temporary, target);
  } catch (error const& failure) {
    if (failure.code() != io_errc::not_found) throw;
  }
  // Someone removed the folder since we made it.
  parts_.files->make_directories(parts_.layout.block_folder(hex));
  return parts_.files->rename_noreplace(temporary, target);
}

void loose_store::make_folder(std::string const& hex) {
  auto const at = std::stoul(hex.substr(0, 4), nullptr, 16);
  if (folders_made_[at].load(std::memory_order_relaxed)) return;
  parts_.files->make_directories(parts_.layout.block_folder(hex));
  folders_made_[at].store(true, std::memory_order_relaxed);
}

loose_store::found loose_store::examine(block_id const& id) {
  try {
    auto const condition = examine_block(*parts_.files, parts_.layout, id);
    if (condition.what == block_condition::kind::absent) return found::absent;
    return condition.good() ? found::good : found::bad;
  } catch (error const&) {
    return found::bad;  // we may not read it
  }
}

// True if the temporary file took the place of a bad one. One process at a time judges and moves:
// otherwise a slow one would move away the good copy that a fast one has just put there.
bool loose_store::replace_bad(block_id const& id, std::string const& hex,
                              std::string const& temporary) {
  std::lock_guard const inside(repair_mutex_);
  auto const between = lock_file::wait_for(parts_.blockstore + "/repair.lock");
  if (examine(id) != found::bad) return false;
  (void)move_to_quarantine(*parts_.files, parts_.layout, id);
  return rename_into_place(hex, temporary);
}

// ---- Barrier ------------------------------------------------------------------------------------

void loose_store::barrier() {
  if (parts_.read_only) return;  // nothing was put
  std::unique_lock lock(mutex_);
  throw_if_lost();
  std::shared_ptr<run> mine;
  if (!current_.empty()) {
    if (!next_) next_ = std::make_shared<run>();
    mine = next_;
  } else {
    mine = active_;  // our blocks may be in it
  }
  if (!mine) return;
  run_ended_.wait(lock, [&] { return mine->done || !active_; });
  if (!mine->done) lead(lock, mine);
  if (mine->failure) throw *mine->failure;
}

// Runs the barrier that `mine` stands for, for everyone who joined it.
// REQUIRES: the lock is held, no run is active, mine == next_.
void loose_store::lead(std::unique_lock<std::mutex>& lock, std::shared_ptr<run> const& mine) {
  DISKDUMP_ASSERT(!active_ && flushing_.empty() && mine == next_);
  active_ = std::move(next_);
  next_.reset();
  flushing_ = std::move(current_);
  current_.clear();
  current_bytes_ = 0;
  lock.unlock();

  auto const result = flush(flushing_);  // nobody else changes it while a run is active
  if (result.lost) discard(flushing_);
  if (!result.failure) {
    for (auto const& [id, block] : flushing_) {
      if (!block.created) remove_temporary(block.spare);
    }
  }

  lock.lock();
  if (result.lost) {
    lost_ = result.failure;
    current_.clear();
    current_bytes_ = 0;
  } else if (result.failure) {
    // The files are durable, only the rows are not there: the next run writes them.
    for (auto const& [id, block] : flushing_) {
      if (current_.try_emplace(id, block).second) current_bytes_ += block.stored_bytes;
    }
  }
  flushing_.clear();
  mine->failure = result.failure;
  mine->done = true;
  active_.reset();
  run_ended_.notify_all();
}

// From file to durable file to row, in this order: a row must never be there before its block.
loose_store::flush_result loose_store::flush(epoch const& blocks) {
  flush_result result;
  result.lost = true;
  try {
    if (parts_.level == durability::barrier) {
      writing([&] { parts_.files->sync(sync_scope::file_system, ""); });
    }
    result.lost = false;
    std::vector<stored_block> rows;
    rows.reserve(blocks.size());
    for (auto const& [id, block] : blocks) rows.push_back({id, block.stored_bytes});
    parts_.index->insert(rows, [&] {
      result.lost = true;
      secure_found_blocks(blocks);
      result.lost = false;
    });
  } catch (...) {
    result.failure = as_error(std::current_exception());
  }
  return result;
}

// A block that was found rather than made here may be taken away again: by its maker, when its own
// barrier fails, or by a collector. Under the index's write lock it stays or is gone for good; then
// our own copy takes its place. What has the name now may be younger than our sync.
void loose_store::secure_found_blocks(epoch const& blocks) {
  bool any = false;
  for (auto const& [id, block] : blocks) {
    if (block.created) continue;
    any = true;
    auto const hex = id.hex();
    if (parts_.files->read(parts_.layout.block(hex), 0)) continue;
    make_folder(hex);
    (void)rename_into_place(hex, block.spare);
  }
  if (any && parts_.level == durability::barrier) {
    writing([&] { parts_.files->sync(sync_scope::file_system, ""); });
  }
}

// Removes the files of an epoch whose write-back failed: the page cache would show them whole to
// the next put() while the disk has something else.
void loose_store::discard(epoch const& blocks) noexcept {
  std::vector<block_id> created;
  try {
    for (auto const& [id, block] : blocks) {
      if (block.created) created.push_back(id);
    }
    parts_.index->for_each_absent(created, [&](block_id const& id) {
      (void)parts_.files->remove(parts_.layout.block(id.hex()));
    });
  } catch (std::exception const&) {
    // They stay as files that no index row and no manifest names.
  }
}

// ---- Remove -------------------------------------------------------------------------------------

void loose_store::remove(std::span<block_id const> ids) {
  check_writable();
  // As a run of its own: a barrier meanwhile would put the rows back.
  std::unique_lock lock(mutex_);
  run_ended_.wait(lock, [&] { return !active_; });
  auto const mine = std::make_shared<run>();
  active_ = mine;
  for (auto const& id : ids) {
    auto const at = current_.find(id);
    if (at == current_.end()) continue;
    current_bytes_ -= at->second.stored_bytes;
    current_.erase(at);
  }
  lock.unlock();

  std::exception_ptr failure;
  try {
    while (!ids.empty()) {
      auto const step = ids.first(std::min(ids.size(), limits::index_rows_per_step));
      ids = ids.subspan(step.size());
      // Row first, then file: a crash between leaves a file that nobody counts on.
      parts_.index->remove(step);
      writing([&] {
        for (auto const& id : step) (void)parts_.files->remove(parts_.layout.block(id.hex()));
      });
    }
  } catch (...) {
    failure = std::current_exception();
  }

  lock.lock();
  mine->done = true;
  active_.reset();
  run_ended_.notify_all();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace diskdump
