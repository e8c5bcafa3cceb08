// Stage settle. Takes: blocks that are in the store. Gives: their memory back to the target's
// budget, and their claims' waiters the good news.
#include "pipeline/target_run.hpp"

namespace diskdump {

task<> settle_stage(target_run& run, receiver<job<persisted_batch>> persisted) {
  while (auto next = co_await persisted.receive()) {
    auto const batch = co_await next->result();
    run.puts.pop_front();
    for (std::size_t i = 0; i < batch.blocks.size(); ++i) {
      auto const& block = batch.blocks[i].block;
      run.ledger.stored(block.index, batch.is_new[i]);
      run.context.claims.stored(block.id);
    }
  }
}

}  // namespace diskdump
