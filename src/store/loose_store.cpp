#include "store/loose_store.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/io_errc.hpp"
#include "store/block_check.hpp"
#include "store/lock_file.hpp"
#include "store/store_error.hpp"
#include "store/unsynced.hpp"

namespace diskdump {

// ---- Questions ----------------------------------------------------------------------------------

std::vector<bool> loose_store::missing(std::span<block_id const> ids) {
  std::vector<bool> answer(ids.size(), true);
  epochs_.find(ids, answer);
  parts_.index->find(ids, answer);
  return answer;
}

void loose_store::fetch(std::span<block_id const> ids, frame_batch& frames) {
  frames.reset(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    auto const hex = ids[i].hex();
    auto const file = parts_.files->open_readable(parts_.layout.block(hex));
    if (!file) continue;
    auto const stored_bytes = file->size_bytes();
    if (stored_bytes > limits::stored_block_bytes_max) {
      throw error(store_errc::damaged_block, severity::corruption)
          .path(shown(hex))
          .cause(format("the file is longer than {} bytes", limits::stored_block_bytes_max))
          .remedy("run diskdump verify");
    }
    auto const room = frames.room(static_cast<std::size_t>(stored_bytes));
    frames.set(i, room.first(file->read(room, 0)));
  }
}

void loose_store::list(std::function<void(stored_block const&)> const& each) {
  parts_.index->list(each);
}

// ---- Put ----------------------------------------------------------------------------------------

std::string loose_store::shown(std::string const& hex) const {
  return store_layout(parts_.blockstore + "/").block(hex);
}

bool loose_store::put(block_id const& id, byte_view frame) {
  DISKDUMP_ASSERT(!frame.empty() && frame.size() <= limits::stored_block_bytes_max);
  parts_.check_writable();
  epochs_.throw_if_lost();
  if (epochs_.contains(id)) return false;
  parts_.room->before_block();
  try {
    return put_block(id, frame);
  } catch (error const& failure) {
    // What others have stored already is to get its rows.
    if (failure.code() == store_errc::store_full) (void)parts_.room->give_up();
    throw;
  }
}

bool loose_store::put_block(block_id const& id, byte_view frame) {
  auto const hex = id.hex();
  // Before the name is looked at: from here on no collector takes the file that has it.
  bool const absolved = parts_.index->absolve(
      id, [this](stored_block const& block) { return parts_.shelf->exists(block); });
  auto const temporary = parts_.scratch->next_path();
  auto const result = writing([&] {
    if (!parts_.files->create_exclusive(temporary, frame)) {
      throw cannot_write(EEXIST, "create", temporary);
    }
    try {
      return place(id, hex, absolved, temporary);
    } catch (...) {
      remove_temporary(temporary);
      throw;
    }
  });
  if (result == settled::known) {
    remove_temporary(temporary);
    return false;
  }

  bool const created = result == settled::created;
  using added = epochs<fresh_block>::added;
  switch (epochs_.add(id, {frame.size(), created, created ? "" : temporary}, true)) {
    case added::is_known:
      if (!created) remove_temporary(temporary);  // another thread found it at the same time
      break;
    case added::is_new:
      break;
    case added::is_new_and_full:
      barrier();
      break;
  }
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
// `absolved`: its row may be taken away again before our barrier, so it is put all the same.
loose_store::settled loose_store::place(block_id const& id, std::string const& hex, bool absolved,
                                        std::string const& temporary) {
  for (unsigned tries = 0; tries < limits::put_tries_max; ++tries) {
    if (rename_into_place(hex, temporary)) return settled::created;
    if (epochs_.contains(id)) return settled::known;
    if (!absolved && parts_.index->contains(id)) return settled::known;
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
  auto const condition = examine_block(*parts_.files, parts_.layout, id);
  if (condition.what == block_condition::kind::absent) return found::absent;
  return condition.good() ? found::good : found::bad;
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
  epochs_.barrier([this](epoch const& blocks) {
    auto result = flush(blocks);
    if (result.lost) discard(blocks);
    if (!result.failure) {
      for (auto const& [id, block] : blocks) {
        if (!block.created) remove_temporary(block.spare);
      }
    }
    return result;
  });
  if (parts_.level == durability::barrier) secure_unsynced(*parts_.files, parts_.layout);
}

// From file to durable file to row, in this order: a row must never be there before its block.
loose_store::flush_result loose_store::flush(epoch const& blocks) {
  flush_result result;
  result.lost = true;
  try {
    if (parts_.level == durability::barrier) {
      writing([&] { parts_.files->sync(sync_scope::file_system, ""); });
    } else {
      note_unsynced(*parts_.files, parts_.layout);
    }
    result.lost = false;
    std::vector<stored_block> rows;
    rows.reserve(blocks.size());
    for (auto const& [id, block] : blocks) rows.push_back({id, block.stored_bytes, {}});
    parts_.room->use([&] {
      parts_.index->insert(rows, [&] {
        result.lost = true;
        secure_found_blocks(blocks);
        result.lost = false;
      });
    });
  } catch (...) {
    result.failure = as_store_error(std::current_exception());
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
  parts_.check_writable();
  epochs_.remove(ids, [this, ids] {
    for (auto rest = ids; !rest.empty();) {
      auto const step = rest.first(std::min(rest.size(), limits::index_rows_per_step));
      rest = rest.subspan(step.size());
      // Row first, then file: a crash between leaves a file that nobody counts on.
      parts_.index->remove(step);
      writing([&] {
        for (auto const& id : step) (void)parts_.files->remove(parts_.layout.block(id.hex()));
      });
    }
  });
}

}  // namespace diskdump
