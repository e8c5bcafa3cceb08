// What the stages of one target share: the session, the stream, the target's byte budget. Lives in
// dump_target()'s frame; used on the event loop's thread only.
#pragma once

#include <optional>

#include "async/byte_budget.hpp"
#include "async/channel.hpp"
#include "pipeline/dump.hpp"
#include "store/manifest.hpp"
#include "wire/server_session.hpp"

namespace diskdump {

// A block on its way from the wire to the store, with the memory it was granted.
struct block_in_flight {
  block_received block;
  byte_lease lease;
};
using block_batch = std::vector<block_in_flight>;

class target_run final : public claim_holder {
 public:
  target_run(dump_context& shared, target_plan const& what, stream& wire,
             target_progress& counters);
  ~target_run() override;
  target_run(target_run const&) = delete;
  target_run& operator=(target_run const&) = delete;

  dump_context& context;
  target_plan const& plan;
  stream& io;
  target_progress& progress;
  server_session session;
  byte_budget budget;
  wait_list output_ready;
  bool closing = false;                       // set once nothing more will be sent
  std::optional<manifest_writer> manifest;    // from SOURCE on; one stage at a time uses it
  std::vector<bad_range_message> bad_ranges;  // at most limits::bad_ranges_max

  // To be called after any verb of `session` that produces output.
  void wake_transmit() { output_ready.wake_all(); }

  // A claim of another target settled. Between expect_settlement() and take_settlement() the block
  // has not been answered yet, and the outcome is kept for the answer.
  void settled(block_index index, verdict outcome) override;
  void expect_settlement(block_index index) { unanswered_waits_[index.value] = verdict::wait; }
  [[nodiscard]] verdict take_settlement(block_index index) {
    return unanswered_waits_.extract(index.value).mapped();
  }

 private:
  std::unordered_map<std::uint64_t, verdict> unanswered_waits_;  // at most one look-up's blocks
};

// ---- The stages, in the order of the data; each in the file of its name -------------------------

// receive: takes the agent's bytes; gives announcements to `answer` and blocks to `verify`.
// Ends after END. Takes a lease for a block before it lets its bytes in.
task<> receive_stage(target_run& run, sender<digests_message> announced,
                     sender<block_in_flight> blocks);

// answer: takes announcements; writes the manifest's lines; gives verdicts to the agent.
task<> answer_stage(target_run& run, receiver<digests_message> announced);

// verify: takes blocks; gives, in the same order, jobs whose result is checked blocks as LZ4
// frames.
task<> verify_stage(target_run& run, receiver<block_in_flight> blocks,
                    sender<job<block_batch>> verified);

// persist: takes verified blocks; gives jobs that put them into the store.
struct persisted_batch {
  block_batch blocks;
  block_count stored;
};
task<> persist_stage(target_run& run, receiver<job<block_batch>> verified,
                     sender<job<persisted_batch>> persisted);

// settle: takes stored blocks; frees their memory, counts them, settles their claims.
task<> settle_stage(target_run& run, receiver<job<persisted_batch>> persisted);

// transmit: sends what the session has to say, until `run.closing`.
task<> transmit_stage(target_run& run);

}  // namespace diskdump
