// How far one image has come, over all the connections that bring it: which of its blocks are in
// the store for certain, the manifest that lists them, and what identifies the source. An attempt
// that fails leaves it as it is; the next one goes on at frontier().
//
// Lives longer than the attempts, which use it one after the other; used on the event loop's
// thread, its manifest by one stage at a time on a writer thread.
// Invariant: every block before frontier() is in the store and in the manifest.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pipeline/dump.hpp"
#include "pipeline/manifest_room.hpp"
#include "store/manifest.hpp"
#include "wire/messages.hpp"

namespace diskdump {

class image_ledger {
 public:
  // Counts blocks in `progress`, each once however often it is announced; `progress` outlives it.
  image_ledger(target_progress& progress, std::uint32_t block_bytes)
      : progress_(progress), block_bytes_(block_bytes) {}

  // ---- What the stages tell, in image order for the first three --------------------------------
  void zeros(block_index first, block_count blocks);     // in store and manifest
  void held(block_index index);                          // answered `have`
  void expected(block_index index, block_id const& id);  // answered `need` or `wait`
  // An expected block is in the store; `is_new` where nobody else had put it there.
  void stored(block_index index, bool is_new);

  // Cannot be read and stands as zeros; in ascending order. Those that touch become one.
  void add(bad_range_message const& bad);

  // ---- Attempts --------------------------------------------------------------------------------
  // The first block that may not be in the store yet. At most one batch lies between it and the
  // last one that was announced, holes not counted.
  [[nodiscard]] block_index frontier() const noexcept;
  // Expected, and not known to be stored.
  [[nodiscard]] std::vector<std::pair<block_index, block_id>> waiting() const;
  // What was announced from frontier() on is announced again.
  block_index begin_attempt();
  // The source as this attempt finds it. Throws source_changed where it is not the one that the
  // image was begun with.
  void check_source(source_message const& found);

  // ---- The manifest, on a writer thread --------------------------------------------------------
  // Takes it back to its first blocks.
  void rewind_manifest(block_count blocks);
  // Takes it back to where this attempt began, unless that has been done.
  void take_back_unannounced() {
    if (manifest_is_ahead_) rewind_manifest(block_count{next_.value});
  }
  // Adds a line for each bad range, each once however often the end of the manifest is tried.
  void tell_bad_ranges();

  // ---- An interrupted dump that is taken up ----------------------------------------------------
  // `blocks` are in the store and in `manifest`, and were not brought by this process.
  void take_up(source_message source, block_count blocks);

  // What the source was when the image was begun.
  std::optional<source_message> source;
  std::optional<manifest_writer> manifest;  // from the first SOURCE on
  // Of the manifest, where somebody counts what all of them take; from the first attempt on.
  std::optional<manifest_room::share> manifest_share;
  std::vector<bad_range_message> bad_ranges;  // at most limits::bad_ranges_max

 private:
  // Whether this block is to be counted now: it was not before.
  bool first_time(block_index index);

  target_progress& progress_;
  std::uint32_t block_bytes_;
  bool manifest_is_ahead_ = false;   // it still has what an earlier attempt announced behind next_
  std::size_t bad_ranges_told_ = 0;  // that stand in the manifest
  block_index next_;                 // the first that has no answer
  std::map<std::uint64_t, block_id> waiting_;  // expected; at most one batch
  // Blocks before this one were answered in an earlier attempt and counted then, except for these.
  block_index counted_until_;
  std::set<std::uint64_t> uncounted_;  // at most one batch for each attempt
};

}  // namespace diskdump
