#include "store/pack_compaction.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/checksum.hpp"
#include "io/io_errc.hpp"
#include "store/pack_format.hpp"
#include "store/pack_scan.hpp"
#include "store/pack_window.hpp"
#include "store/pack_writer.hpp"
#include "store/scratch.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

class compaction {
 public:
  using named = std::function<bool(block_id const&)>;

  compaction(pack_surroundings const& store, work_monitor& monitor, named const& is_named)
      : store_(store), monitor_(monitor), is_named_(is_named) {}

  reclaimed_space run();

 private:
  // Packs that nobody can add to any more, with their sizes.
  using pack_sizes = std::map<std::uint32_t, std::uint64_t>;

  [[nodiscard]] pack_sizes finished_packs();
  // Packs of which little is needed, with how many blocks that is.
  using block_counts = std::map<std::uint32_t, std::uint64_t>;

  [[nodiscard]] block_counts worth_copying(pack_sizes const& packs);
  void copy(block_counts const& packs);
  bool copy_one(std::uint32_t pack, std::span<store_index::known_block const> blocks);
  void settle();
  void remove_unused(pack_sizes packs);
  void remove(pack_sizes::value_type const& pack);
  [[nodiscard]] bool holds_unknown(std::uint32_t pack);
  void leave_alone(std::uint32_t pack, std::string_view why);

  pack_surroundings const& store_;
  work_monitor& monitor_;
  named const& is_named_;
  std::optional<scratch_folder> scratch_;
  std::optional<pack_writer> writer_;
  std::vector<store_index::moved_block> moved_;
  std::uint64_t moved_bytes_ = 0;
  std::set<std::uint32_t> copied_;
  std::set<std::uint32_t> new_packs_;
  std::uint64_t written_bytes_ = 0;
  reclaimed_space result_;
};

void compaction::leave_alone(std::uint32_t pack, std::string_view why) {
  ++result_.packs_left_alone;
  if (result_.left_alone.size() == limits::packs_told_max) return;
  result_.left_alone.push_back(
      format("gc leaves .blockstore/{} as it is: {}", pack_path(store_layout(""), pack), why));
}

// Looked at before the index is asked what is in use: whoever is dead by then writes no rows.
compaction::pack_sizes compaction::finished_packs() {
  pack_sizes finished;
  auto const header_of = [&](std::uint32_t number) -> std::optional<byte_vector> {
    try {
      return store_.files.read(pack_path(store_.layout, number), limits::pack_header_bytes);
    } catch (error const& failure) {
      // Nobody knows whether its writer lives.
      if (!is_medium_error(failure)) throw;
      return std::nullopt;
    }
  };
  std::map<std::string, bool> alive;
  for (auto const& pack : list_packs(store_.files, store_.layout)) {
    auto const bytes = header_of(pack.number);
    if (!bytes) {
      leave_alone(pack.number,
                  "its header cannot be read; diskdump verify tells what else of it is lost");
      continue;
    }
    // A pack gets its name with its header in it: without one, its writer died in a power cut.
    if (auto const header = decode_pack_header(*bytes)) {
      auto const [at, is_new] = alive.try_emplace(header->owner, false);
      if (is_new) at->second = scratch_owner_lives(store_.blockstore, header->owner);
      if (at->second) continue;
    }
    finished.emplace(pack.number, pack.size_bytes);
  }
  return finished;
}

compaction::block_counts compaction::worth_copying(pack_sizes const& packs) {
  block_counts chosen;
  block_counts small;
  for (auto const& use : store_.index.packs_in_use()) {
    auto const at = packs.find(use.pack);
    if (at == packs.end()) continue;
    auto const blocks = use.rows.blocks + use.condemned.blocks;
    auto const live = use.rows.stored_bytes + use.condemned.stored_bytes +
                      blocks * limits::pack_entry_header_bytes + limits::pack_header_bytes;
    if (live * 100 < at->second * limits::pack_live_percent_min) chosen.emplace(use.pack, blocks);
    if (live < limits::pack_small_bytes) small.emplace(use.pack, blocks);
  }
  if (small.size() >= limits::pack_small_count_max) chosen.merge(small);
  return chosen;
}

constexpr std::string_view unknown_to_index =
    "it holds blocks that manifests name and the index does not know; run diskdump reindex";

// A reindex that did not end leaves an index that knows a part of what is there: a pack without a
// row, or an entry without one, may be just what a manifest needs.
bool compaction::holds_unknown(std::uint32_t pack) {
  if (!is_named_) return false;
  bool found = false;
  scan_pack(store_.files, store_.layout, pack, [&](stored_block const& entry) {
    if (found || !is_named_(entry.id)) return;
    found = !store_.index.rows_of(std::span(&entry.id, 1), true).front();
  });
  return found;
}

void compaction::copy(block_counts const& packs) {
  monitor_.enter("compacting packs", packs.size());
  std::vector<std::uint32_t> lasts;
  std::uint64_t rows = 0;
  for (auto const& [pack, blocks] : packs) {
    rows += blocks;
    if (rows < limits::pack_copy_rows_per_window) continue;
    if (lasts.size() + 1 == limits::pack_row_ranges_max) break;
    lasts.push_back(pack);
    rows = 0;
  }
  lasts.push_back(std::numeric_limits<std::uint32_t>::max());
  // A row that comes later is not copied, and keeps its pack from being removed.
  pack_rows in_packs(
      store_, lasts, 1,
      [&packs](pack_rows::row const& row) { return packs.contains(row.block.place.pack); },
      monitor_.stop);
  for (auto const last : lasts) {
    auto const known = in_packs.up_to(last);
    for (auto at = known.begin(); at != known.end() && !monitor_.stop;) {
      auto const pack = at->block.place.pack;
      auto const end = std::find_if(
          at, known.end(), [pack](auto const& row) { return row.block.place.pack != pack; });
      if (holds_unknown(pack)) {
        leave_alone(pack, unknown_to_index);
      } else if (copy_one(pack, std::span(at, end))) {
        copied_.insert(pack);
      } else {
        leave_alone(pack, "a block in it is damaged or cannot be read; diskdump verify finds it");
      }
      ++monitor_.done;
      at = end;
    }
    if (monitor_.stop) break;
  }
  settle();
}

// False where something in it is damaged or cannot be read; then nothing of it
// is moved.
bool compaction::copy_one(std::uint32_t number, std::span<store_index::known_block const> blocks) {
  auto const entry_of = [](byte_view bytes, stored_block const& block) {
    auto const entry = decode_pack_entry(bytes);
    return bytes.size() == limits::pack_entry_header_bytes + block.stored_bytes && entry &&
           entry->id == block.id && entry->stored_bytes == block.stored_bytes &&
           checksum64(bytes.subspan(limits::pack_entry_header_bytes)) == entry->checksum;
  };
  pack_window pack(store_.files, pack_path(store_.layout, number));
  auto const view = [&](stored_block const& block) {
    if (block.stored_bytes > limits::stored_block_bytes_max) return byte_view();
    try {
      return pack.view(block.place.offset, limits::pack_entry_header_bytes + block.stored_bytes,
                       limits::upkeep_bytes_per_read);
    } catch (error const& failure) {
      if (!is_medium_error(failure)) throw;
      return byte_view();
    }
  };
  for (auto const& known : blocks) {
    if (!entry_of(view(known.block), known.block)) return false;
  }
  if (!writer_) {
    scratch_.emplace(store_.blockstore, store_.files, store_.layout);
    writer_.emplace(store_.files, store_.layout, *scratch_, nullptr, store_.level,
                    limits::pack_copy_write_bytes);
  }
  for (auto const& known : blocks) {
    auto const bytes = view(known.block);
    if (!entry_of(bytes, known.block)) return false;  // it changed under our eyes
    auto const to = writer_->add(known.block.id, bytes.subspan(limits::pack_entry_header_bytes));
    moved_.push_back({known.block.id, known.block.place, to});
    moved_bytes_ += bytes.size();
    written_bytes_ += bytes.size();
    if (new_packs_.insert(to.pack).second) written_bytes_ += limits::pack_header_bytes;
    if (moved_bytes_ >= limits::pack_bytes || moved_.size() >= limits::pack_moves_per_step) {
      settle();
    }
  }
  return true;
}

// From durable copy to row, in this order.
void compaction::settle() {
  if (moved_.empty()) return;
  writer_->flush();
  // In the order of the index, whose pages are then taken one after the other.
  std::sort(moved_.begin(), moved_.end(), [](auto const& a, auto const& b) { return a.id < b.id; });
  std::span rest(moved_);
  while (!rest.empty()) {
    auto const step = rest.first(std::min(rest.size(), limits::index_rows_per_step));
    store_.index.move(step);
    rest = rest.subspan(step.size());
    // Waiting dumps get the lock.
    if (!rest.empty()) std::this_thread::sleep_for(limits::pack_removal_pause);
  }
  moved_.clear();
  moved_bytes_ = 0;
}

void compaction::remove(pack_sizes::value_type const& pack) {
  writing([&] { (void)store_.files.remove(pack_path(store_.layout, pack.first)); });
  ++result_.packs_removed;
  result_.packs_rewritten += copied_.contains(pack.first) ? 1 : 0;
  result_.bytes += pack.second;
}

// The look at all rows takes minutes in a large store, so it is not made under the write lock. A
// pack that was not in use then can only have come into use by a reindex, which gives rows to what
// it finds: its writer is dead, and no other gc runs. So each step asks, under the lock, whether
// one has; and a reindex finds the pack, under the lock as well, or finds it gone.
void compaction::remove_unused(pack_sizes packs) {
  for (unsigned scan = 0; scan < limits::pack_removal_scans_max; ++scan) {
    auto const adoptions = store_.index.adoptions();
    for (auto const& use : store_.index.packs_in_use()) packs.erase(use.pack);
    std::erase_if(packs, [this](auto const& pack) {
      if (!holds_unknown(pack.first)) return false;
      leave_alone(pack.first, unknown_to_index);
      return true;
    });
    monitor_.enter("removing packs", packs.size());
    bool unused = true;
    while (!packs.empty() && unused && !monitor_.stop) {
      unused = store_.index.unless_adopted(adoptions, [&] {
        for (std::size_t n = 0; n < limits::pack_removals_per_step && !packs.empty(); ++n) {
          remove(*packs.begin());
          packs.erase(packs.begin());
          ++monitor_.done;
        }
      });
      // Waiting dumps get the lock.
      if (!packs.empty()) std::this_thread::sleep_for(limits::pack_removal_pause);
    }
    if (unused) return;
  }
}

reclaimed_space compaction::run() {
  auto const packs = finished_packs();
  auto const chosen = worth_copying(packs);
  if (!chosen.empty()) copy(chosen);
  if (!monitor_.stop) remove_unused(packs);
  result_.bytes -= std::min(result_.bytes, written_bytes_);
  return result_;
}

}  // namespace

reclaimed_space compact_packs(pack_surroundings const& store, work_monitor& monitor,
                              std::function<bool(block_id const&)> const& is_named) {
  return compaction(store, monitor, is_named).run();
}

}  // namespace diskdump
