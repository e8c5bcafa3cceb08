// Single flight: identical machines dumped together ask for the same block within milliseconds, and
// only one of them shall send it. A target that asks for a block which the store lacks claims it;
// another one that asks meanwhile waits until the claim settles: stored, or the claimant failed and
// the next waiter sends.
//
// A claim is held only while the index is asked or the claimant's own block is on its way, neither
// of which depends on another target: no two targets wait for each other. A claimant that stands
// still, or drips, loses its claims to those who wait, so that it does not hold them up.
//
// Single-threaded: all calls come from the event loop's thread.
// Invariant: a target is in at most one batch of entries, as claimant or waiter.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/units.hpp"
#include "codec/block_id.hpp"
#include "wire/messages.hpp"

namespace diskdump {

// A target as the claims table sees it: told what became of the blocks it waits for.
class claim_holder {
 public:
  virtual ~claim_holder() = default;
  // `need` makes this target the claimant. Called from within stored(), withdrawn or leave(); must
  // not call back into the table.
  virtual void settled(block_index index, verdict outcome) = 0;
  // How it sends what it was asked for.
  enum class delivery : std::uint8_t {
    brisk,
    slow,    // so slowly that others shall not wait for it
    silent,  // not at all
  };
  [[nodiscard]] virtual delivery how_it_delivers() = 0;
};

class claims_table {
 public:
  enum class outcome : std::uint8_t {
    claimed,  // the caller is the claimant now
    in_hand,  // the caller claims it or waits for it already: answer `have`
    wait,     // somebody else's claim; settled() will be called
  };

  [[nodiscard]] outcome ask(claim_holder& who, block_id const& id, block_index index);
  // The claim on `id` ended well: the store has the block.
  void stored(block_id const& id);
  // `who` goes away, well or not: its waits are dropped, its claims go to the next waiter.
  void leave(claim_holder& who);

  // Of each block that others wait for, and whose claimant is silent or slow, the next waiter that
  // is neither becomes the claimant. The former one may still send it: whoever stores it first
  // settles it for all. For slowness a block is passed limits::claim_slow_passes_max times: where
  // all have one thin line, more copies of it would make that slower yet.
  void pass_stalled();

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct waiter {
    claim_holder* who = nullptr;
    block_index index;
  };
  struct entry {
    claim_holder* claimant = nullptr;
    unsigned slow_passes = 0;
    std::vector<waiter> waiters;
  };
  std::unordered_map<block_id, entry, block_id_hash> entries_;
};

}  // namespace diskdump
