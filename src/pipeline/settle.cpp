// Stage settle. Takes: blocks that are in the store. Gives: their memory back to the target's
// budget, and their claims' waiters the good news.
#include "pipeline/target_run.hpp"

namespace diskdump {

task<> settle_stage(target_run& run, receiver<job<persisted_batch>> persisted) {
  while (auto next = co_await persisted.receive()) {
    auto const batch = co_await next->result();
    run.progress.blocks_stored += batch.stored;
    run.progress.blocks_reused += block_count{batch.blocks.size() - batch.stored.value};
    for (auto const& b : batch.blocks) run.context.claims.stored(b.block.id);
  }
}

}  // namespace diskdump
