#include "pipeline/image_ledger.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "store/interrupted.hpp"
#include "wire/wire_errc.hpp"

namespace diskdump {

bool image_ledger::first_time(block_index index) {
  return index >= counted_until_ || uncounted_.erase(index.value) > 0;
}

void image_ledger::zeros(block_index first, block_count blocks) {
  DISKDUMP_ASSERT(first == next_);
  next_ += blocks;
  if (next_ > counted_until_) {
    progress_.blocks_zero += block_count{next_.value - std::max(first, counted_until_).value};
  }
  auto const again_end = std::min(next_, counted_until_);
  if (first >= again_end) return;
  // Expected in an earlier attempt, and zeros now: the source was written to.
  auto const from = uncounted_.lower_bound(first.value);
  auto const to = uncounted_.lower_bound(again_end.value);
  progress_.blocks_zero += block_count{static_cast<std::uint64_t>(std::distance(from, to))};
  uncounted_.erase(from, to);
}

void image_ledger::held(block_index index) {
  DISKDUMP_ASSERT(index == next_);
  ++next_;
  if (first_time(index)) ++progress_.blocks_reused;
}

void image_ledger::expected(block_index index, block_id const& id) {
  DISKDUMP_ASSERT(index == next_);
  ++next_;
  waiting_.emplace(index.value, id);
}

void image_ledger::stored(block_index index, bool is_new) {
  if (waiting_.erase(index.value) == 0 || !first_time(index)) return;
  ++(is_new ? progress_.blocks_stored : progress_.blocks_reused);
}

block_index image_ledger::frontier() const noexcept {
  return waiting_.empty() ? next_ : block_index{waiting_.begin()->first};
}

std::vector<std::pair<block_index, block_id>> image_ledger::waiting() const {
  std::vector<std::pair<block_index, block_id>> all;
  for (auto const& [index, id] : waiting_) all.emplace_back(block_index{index}, id);
  return all;
}

block_index image_ledger::begin_attempt() {
  auto const start = frontier();
  counted_until_ = std::max(counted_until_, next_);
  for (auto const& [index, id] : waiting_) uncounted_.insert(index);
  waiting_.clear();
  next_ = start;
  manifest_is_ahead_ = manifest.has_value();
  if (!source) return start;
  auto const known_bytes = std::min(
      block_geometry{source->image_bytes, block_bytes_}.offset_bytes(start), source->image_bytes);
  std::erase_if(bad_ranges, [&](auto const& bad) { return bad.offset_bytes >= known_bytes; });
  progress_.bad_bytes = 0;
  for (auto& bad : bad_ranges) {
    bad.length_bytes = std::min(bad.length_bytes, known_bytes - bad.offset_bytes);
    progress_.bad_bytes += bad.length_bytes;
  }
  progress_.announced_bytes = known_bytes;
  return start;
}

void image_ledger::add(bad_range_message const& bad) {
  progress_.bad_bytes += bad.length_bytes;
  if (!bad_ranges.empty()) {
    auto& last = bad_ranges.back();
    if (last.offset_bytes + last.length_bytes == bad.offset_bytes) {
      last.length_bytes += bad.length_bytes;
      return;
    }
  }
  if (bad_ranges.size() == limits::bad_ranges_max) {
    throw error(wire_errc::too_much_talk, severity::permanent)
        .cause(format("more than {} bad ranges", limits::bad_ranges_max));
  }
  bad_ranges.push_back(bad);
}

void image_ledger::rewind_manifest(block_count blocks) {
  manifest->rewind(blocks);
  manifest_is_ahead_ = false;
  bad_ranges_told_ = 0;
}

void image_ledger::tell_bad_ranges() {
  while (bad_ranges_told_ < bad_ranges.size()) {
    // Counted first: a line stays with the manifest also where writing it out fails.
    auto const& bad = bad_ranges[bad_ranges_told_++];
    manifest->comment(bad_range_key, format("{} {}", bad.offset_bytes, bad.length_bytes));
  }
}

void image_ledger::check_source(source_message const& found) {
  if (!source) {
    source = found;
    return;
  }
  auto const changed = [](std::string const& what) {
    return error(pipeline_errc::source_changed, severity::permanent)
        .cause(what)
        .remedy("dump it from the beginning (without --resume)");
  };
  if (found.image_bytes != source->image_bytes) {
    throw changed(format("it has {} bytes, and had {}", found.image_bytes, source->image_bytes));
  }
  if (found.identity != source->identity) {
    throw changed(format("it is \"{}\", and was \"{}\"", found.identity, source->identity));
  }
}

void image_ledger::take_up(source_message what, block_count blocks) {
  DISKDUMP_ASSERT(next_.value == 0 && !source);
  source = std::move(what);
  next_ += blocks;
  counted_until_ = next_;
  progress_.blocks_resumed = blocks;
}

}  // namespace diskdump
