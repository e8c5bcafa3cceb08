// The third stage: announced blocks in their slots until the server said what becomes of them.
// Takes blocks from the digest stage and verdicts from the server; gives needed blocks to the send
// stage.
//
//   have → the slot is free at once    need → queued for sending    wait → kept until SETTLE
//
// Invariant: a block is in at most one of held_ and needed_; together they have at most one batch.
// Single-threaded.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "async/buffer_pool.hpp"
#include "async/wait_list.hpp"
#include "base/units.hpp"
#include "wire/agent_session.hpp"

namespace diskdump {

struct held_block {
  block_index index;
  std::uint32_t length_bytes = 0;
  slot_lease slot;
};

class hold {
 public:
  // The pool of the slots outlives it.
  hold(asio::any_io_executor executor, std::uint32_t batch_blocks);

  // Before the server can have seen the block's announcement.
  void add(held_block block);

  // REQUIRES: the block is held (the session checks what the server says).
  void apply(block_verdict const& said);

  // No block will be added any more.
  void close();

  // Completes with 1 to `blocks_max` needed blocks, or with none after close() once nothing is held
  // any more; resumes on the executor. Any number at once. Cancelled: throws, none was taken.
  [[nodiscard]] task<std::vector<held_block>> take_needed(std::size_t blocks_max);

  [[nodiscard]] std::size_t held() const noexcept { return held_.size(); }

 private:
  std::unordered_map<std::uint64_t, held_block> held_;
  std::deque<held_block> needed_;
  bool closed_ = false;
  wait_list changed_;
};

}  // namespace diskdump
