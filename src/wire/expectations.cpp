#include "wire/expectations.hpp"

#include <algorithm>
#include <limits>

#include "base/assert.hpp"
#include "base/limits.hpp"

namespace diskdump {

bool expectations::may_add(block_index first, std::span<block_id const> ids) const noexcept {
  constexpr auto last_max = std::numeric_limits<std::uint64_t>::max();
  if (first < told_until_ || ids.size() > last_max - first.value) return false;
  std::size_t kept = 0;
  for (auto const& id : ids) {
    if (is_kept(first, id)) ++kept;
    ++first;
  }
  return kept <= room();
}

void expectations::add(block_index first, std::span<block_id const> ids) {
  DISKDUMP_ASSERT(may_add(first, ids));
  for (auto const& id : ids) {
    if (is_kept(first, id)) {
      indices_.push_back(first);
      ids_.push_back(id);
    }
    ++first;
  }
  told_until_ = first;
}

block_id const& expectations::at(block_index i) const noexcept {
  auto const found = std::lower_bound(indices_.begin(), indices_.end(), i);
  if (found == indices_.end() || *found != i) return no_block;
  return ids_[static_cast<std::size_t>(found - indices_.begin())];
}

void expectations::announced(block_index next) {
  DISKDUMP_ASSERT(next >= next_);
  next_ = next;
  while (!indices_.empty() && indices_.front() < next) {
    indices_.pop_front();
    ids_.pop_front();
  }
}

std::size_t expectations::room() const noexcept {
  return limits::expected_ahead_blocks - ids_.size();
}

}  // namespace diskdump
