// The store of a simulated fleet: the one in memory, which becomes full when the scenario says so,
// and which a test of the tests can break.
#pragma once

#include <memory>

#include "scenario.hpp"
#include "store/block_store.hpp"

namespace diskdump::simulation {

// What is broken on purpose, so that it shows whether the checks notice.
enum class sabotage : std::uint8_t {
  none,
  lost_put,     // one put() stores nothing and says that it did
  wrong_put,    // one put() stores another block's content
  no_barrier,   // barrier() returns without having made anything durable
  forgetful,    // missing() says that every block is missing
  lost_settle,  // SETTLE does not reach the agents
  lost_wakeup,  // one coroutine that is ready is never resumed
};

class simulated_store final : public block_store {
 public:
  simulated_store(store_plan plan, sabotage broken, trace& events);

  std::vector<bool> missing(std::span<block_id const> ids) override;
  bool put(block_id const& id, byte_view frame) override;
  void fetch(std::span<block_id const> ids, frame_batch& frames) override {
    inner_->fetch(ids, frames);
  }
  void barrier() override;
  void list(std::function<void(stored_block const&)> const& each) override { inner_->list(each); }
  void remove(std::span<block_id const> ids) override { inner_->remove(ids); }
  store_stats stats() override { return inner_->stats(); }
  store_properties const& properties() const noexcept override { return inner_->properties(); }

  // A block of an earlier dump, durable.
  void hold(block_id const& id, byte_view frame);
  // There is room again. What was stored before is not told by stored() any more.
  void heal();
  // Whether it has refused anything.
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  // Blocks that put() said are new, in order.
  [[nodiscard]] std::vector<block_id> const& stored() const noexcept { return stored_; }

 private:
  [[noreturn]] void refuse();
  store_plan plan_;
  sabotage broken_;
  trace& events_;
  std::unique_ptr<block_store> inner_;
  std::uint64_t puts_ = 0;
  std::uint64_t barriers_ = 0;
  bool failed_ = false;
  std::vector<block_id> stored_;
};

// The LZ4 frame of a block, as the store keeps it.
[[nodiscard]] byte_vector frame_of(byte_view content);

}  // namespace diskdump::simulation
