// The digests that EXPECT told for blocks that are not announced yet; both ends keep the same. A
// block that has one is announced without its id, and needs no answer. Holds at most
// limits::expected_ahead_blocks ids, in image order, however far apart their blocks are. No thread
// of its own.
#pragma once

#include <deque>
#include <span>

#include "base/units.hpp"
#include "codec/block_id.hpp"
#include "wire/messages.hpp"

namespace diskdump {

class expectations {
 public:
  // Nothing is expected of blocks before `next`.
  explicit expectations(block_index next = {}) : next_(next), told_until_(next) {}

  // Whether EXPECT may tell `ids` from `first` on: each block once and in order, and no more ids
  // than there is room for. Blocks that are announced already may be among them: those are too
  // late, are not kept, and count no more than no_block does.
  [[nodiscard]] bool may_add(block_index first, std::span<block_id const> ids) const noexcept;
  // REQUIRES: may_add(first, ids).
  void add(block_index first, std::span<block_id const> ids);

  // What block `i` is expected to be; no_block where nothing is.
  [[nodiscard]] block_id const& at(block_index i) const noexcept;

  // Blocks before `next` are announced. REQUIRES: next does not go back.
  void announced(block_index next);

  // How many ids may be told now.
  [[nodiscard]] std::size_t room() const noexcept;
  // The first block that EXPECT has not told yet; what lies before it is not told again.
  [[nodiscard]] block_index told_until() const noexcept { return told_until_; }

 private:
  [[nodiscard]] bool is_kept(block_index i, block_id const& id) const noexcept {
    return i >= next_ && id != no_block;
  }

  // Invariant: indices_ ascends, none is before next_ or not before told_until_; ids_[i] is of
  // block indices_[i]; there are at most limits::expected_ahead_blocks of them.
  std::deque<block_index> indices_;
  std::deque<block_id> ids_;
  block_index next_;
  block_index told_until_;
};

}  // namespace diskdump
