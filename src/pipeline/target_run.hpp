// What the stages of one target share: the session, the stream, the target's byte budget. Lives in
// dump_target()'s frame; used on the event loop's thread only.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "async/byte_budget.hpp"
#include "async/channel.hpp"
#include "pipeline/claim_pace.hpp"
#include "pipeline/codec_choice.hpp"
#include "pipeline/dump.hpp"
#include "pipeline/image_ledger.hpp"
#include "wire/server_session.hpp"

namespace diskdump {

// A block on its way from the wire to the store, with the memory it was granted.
struct block_in_flight {
  block_received block;
  byte_lease lease;
};
using block_batch = std::vector<block_in_flight>;

class target_run final : public claim_holder, public sharing_reader {
 public:
  target_run(dump_context& shared, target_plan const& what, stream& wire, image_ledger& book,
             target_progress& counters);
  ~target_run() override;
  target_run(target_run const&) = delete;
  target_run& operator=(target_run const&) = delete;

  dump_context& context;
  target_plan const& plan;
  stream& io;
  image_ledger& ledger;
  target_progress& progress;
  server_session session;
  byte_budget budget;
  rate_limiter receiving;  // of this target alone
  codec_choice codec;
  wait_list output_ready;
  wait_list announced_more;   // woken by START, DIGESTS, and when `closing` is set
  block_count as_expected;    // of the blocks that were announced, told at the end
  bool closing = false;       // set once nothing more will be sent
  bool within_frame = false;  // what was written may end in the middle of one
  // One for each batch that writers were given and settle has not taken: the blocks of it that
  // nobody else had put into the store. A writer thread fills it in; it is read once the batch's
  // memory has come back. At most as many as persist has in flight.
  using new_blocks = std::vector<block_index>;
  std::deque<std::shared_ptr<new_blocks>> puts;
  clock_source::steady heard_last;  // when bytes came, or we last said what the target waited for
  bool listening = false;           // for bytes of the target; else it is us who take none
  clock_source::steady listening_since;
  sending_time had_to_send;       // before this time
  std::uint64_t blocks_came = 0;  // of those it was asked for

  // To be called after any verb of `session` that produces output.
  void wake_transmit() {
    heard_last = context.timers.clock().now();
    output_ready.wake_all();
  }

  void count_wire() { progress.bytes_wire = wire_bytes_before_ + io.wire_bytes(); }

  // This target's agent reads from now on, and no more: what all may read is divided anew.
  void begin_reading();
  void end_reading();
  void share_changed(std::uint64_t bytes_per_s) override;

  // Completes when the links have room for what crosses them next, resuming on the executor.
  // What crossed since the last call is charged.
  [[nodiscard]] task<> pace();

  // Completes when the store's disk has room for the manifest's next lines, resuming on the
  // executor. Throws no_room_for_manifest where this manifest is to make room for others.
  [[nodiscard]] task<> room_for_lines(block_index first, block_count blocks);

  // A claim of another target settled. Between expect_settlement() and take_settlement() the block
  // has not been answered yet, and the outcome is kept for the answer.
  void settled(block_index index, verdict outcome) override;
  [[nodiscard]] delivery how_it_delivers() override;
  void expect_settlement(block_index index) { unanswered_waits_[index.value] = verdict::wait; }
  [[nodiscard]] verdict take_settlement(block_index index) {
    return unanswered_waits_.extract(index.value).mapped();
  }

 private:
  claim_pace claim_pace_;
  std::uint64_t wire_bytes_before_;                              // of earlier attempts
  std::uint64_t charged_bytes_ = 0;                              // of the stream, to the rates
  std::unordered_map<std::uint64_t, verdict> unanswered_waits_;  // at most one look-up's blocks
};

// ---- The stages, in the order of the data; each in the file of its name -------------------------

// receive: takes the agent's bytes; gives announcements to `answer` and blocks to `verify`.
// Ends after END. Takes a lease for a block before it lets its bytes in.
task<> receive_stage(target_run& run, sender<digests_message> announced,
                     sender<block_in_flight> blocks);

// answer: takes announcements; writes the manifest's lines; gives verdicts to the agent on all
// blocks that are not as expected.
task<> answer_stage(target_run& run, receiver<digests_message> announced);

// verify: takes blocks; gives, in the same order, jobs whose result is checked blocks as LZ4
// frames.
task<> verify_stage(target_run& run, receiver<block_in_flight> blocks,
                    sender<job<block_batch>> verified);

// persist: takes verified blocks; gives jobs that put them into the store.
struct persisted_batch {
  block_batch blocks;
  std::vector<bool> is_new;  // one flag for each: nobody else had put it there
};
task<> persist_stage(target_run& run, receiver<job<block_batch>> verified,
                     sender<job<persisted_batch>> persisted);

// settle: takes stored blocks; frees their memory, counts them, settles their claims.
task<> settle_stage(target_run& run, receiver<job<persisted_batch>> persisted);

// expect: reads the previous manifest; tells the agent what its blocks are expected to be, so that
// unchanged ones need no answer. Its failure is none of the dump's.
task<> expect_stage(target_run& run);

// transmit: sends what the session has to say, until `run.closing`.
task<> transmit_stage(target_run& run);

}  // namespace diskdump
