// Stage persist. Takes: verified blocks. Gives: jobs that put them into the store, several at once
// on the writer threads.
#include "pipeline/target_run.hpp"

namespace diskdump {

task<> persist_stage(target_run& run, receiver<job<block_batch>> verified,
                     sender<job<persisted_batch>> persisted) {
  auto const executor = run.context.executor;
  auto* const store = &run.context.store;
  auto* const times = run.context.times;
  while (auto next = co_await verified.receive()) {
    auto batch = co_await next->result();
    auto const fresh = std::make_shared<target_run::new_blocks>();
    run.puts.push_back(fresh);
    co_await persisted.send(launch(
        run.context.writers, executor, [store, times, fresh, batch = std::move(batch)]() mutable {
          stage_timer busy(times, stage::persist);
          persisted_batch done;
          for (auto& b : batch) {
            done.is_new.push_back(store->put(b.block.id, b.block.payload));
            if (done.is_new.back()) fresh->push_back(b.block.index);
            free_memory(b.block.payload);
            busy.count(b.block.raw_bytes);
          }
          done.blocks = std::move(batch);
          return done;
        }));
  }
  persisted.finish();
}

}  // namespace diskdump
