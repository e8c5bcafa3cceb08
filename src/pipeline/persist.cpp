// Stage persist. Takes: verified blocks. Gives: jobs that put them into the store, several at once
// on the writer threads.
#include "pipeline/target_run.hpp"

namespace diskdump {

task<> persist_stage(target_run& run, receiver<job<block_batch>> verified,
                     sender<job<persisted_batch>> persisted) {
  auto const executor = run.context.executor;
  auto* const store = &run.context.store;
  while (auto next = co_await verified.receive()) {
    auto batch = co_await next->result();
    co_await persisted.send(
        launch(run.context.writers, executor, [store, batch = std::move(batch)]() mutable {
          persisted_batch done;
          for (auto& b : batch) {
            if (store->put(b.block.id, b.block.payload)) ++done.stored;
            b.block.payload = {};
          }
          done.blocks = std::move(batch);
          return done;
        }));
  }
  persisted.finish();
}

}  // namespace diskdump
