// Stage answer. Takes: announcements in image order. Gives: a verdict per data block to the agent,
// a line per block to the manifest. Several queued announcements share one look-up in the index. A
// block that is as expected is held (stage expect asked) and has no verdict.
#include <algorithm>

#include "async/watcher.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"
#include "pipeline/target_run.hpp"

namespace diskdump {

namespace {

// Zero blocks never cross the wire: the store gets the block made here, once.
void ensure_zero_block(block_store& store, block_id const& id, std::uint32_t length_bytes) {
  if (!store.missing(std::span(&id, 1)).front()) return;
  byte_vector const zeros(length_bytes);
  byte_vector frame(lz4_frame_bytes_max(length_bytes));
  block_compressor compressor;
  frame.resize(compressor.lz4_frame(zeros, frame));
  store.put(id, frame);
}

struct data_block {
  block_index index;
  block_id id;
  bool expected = false;
  verdict outcome = verdict::have;
};

class answering {
 public:
  // Made with the first announcement, so there is a first block.
  explicit answering(target_run& run)
      : run_(run),
        geometry_(run.session.geometry()),
        zero_full_(run.session.announced().zero_id({0})),
        zero_last_(run.session.announced().zero_id({geometry_.blocks().value - 1})) {}

  task<> groups(std::vector<digests_message> batch);

 private:
  task<> zeros(block_index first, block_count blocks);
  task<> data(std::span<data_block> blocks);

  target_run& run_;
  block_geometry geometry_;
  // Copies, since writer threads read them while the session goes on.
  block_id zero_full_;
  block_id zero_last_;
  bool zero_full_known_ = false;
};

task<> answering::zeros(block_index first, block_count blocks) {
  auto const end = first + blocks;
  for (auto at = first; at < end;) {
    auto const lines = std::min(end.value - at.value, limits::manifest_lines_per_hop);
    co_await run_.room_for_lines(at, block_count{lines});
    co_await offload(run_.context.writers, [&] {
      stage_timer const busy(run_.context.times, stage::look_up);
      for (std::uint64_t i = 0; i < lines; ++i) {
        auto const index = at + block_count{i};
        auto const length = geometry_.length_bytes(index);
        bool const full = length == geometry_.block_bytes;
        auto const& id = full ? zero_full_ : zero_last_;
        if (!full || !zero_full_known_) ensure_zero_block(run_.context.store, id, length);
        zero_full_known_ = zero_full_known_ || full;
        run_.ledger.manifest->add(id);
      }
    });
    run_.ledger.zeros(at, block_count{lines});
    at += block_count{lines};
  }
}

task<> answering::data(std::span<data_block> blocks) {
  co_await run_.room_for_lines(blocks.front().index, block_count{blocks.size()});
  // A claim is taken before the index is asked, so that no other target can be told to send the
  // block between the index's answer and ours.
  std::vector<block_id> asked;
  std::vector<std::size_t> asked_at;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    auto& b = blocks[i];
    if (b.expected) continue;
    switch (run_.context.claims.ask(run_, b.id, b.index)) {
      case claims_table::outcome::claimed:
        asked.push_back(b.id);
        asked_at.push_back(i);
        break;
      case claims_table::outcome::in_hand:
        b.outcome = verdict::have;
        break;
      case claims_table::outcome::wait:
        b.outcome = verdict::wait;
        run_.expect_settlement(b.index);
        break;
    }
  }
  std::vector<bool> missing;
  co_await offload(run_.context.writers, [&] {
    stage_timer const busy(run_.context.times, stage::look_up);
    if (!asked.empty()) missing = run_.context.store.missing(asked);
    for (auto const& b : blocks) run_.ledger.manifest->add(b.id);
  });
  std::vector<verdict> verdicts;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    blocks[asked_at[i]].outcome = missing[i] ? verdict::need : verdict::have;
  }
  for (auto& b : blocks) {
    if (b.outcome == verdict::wait) b.outcome = run_.take_settlement(b.index);
    if (!b.expected) verdicts.push_back(b.outcome);
    if (b.expected) ++run_.as_expected;
    if (b.outcome == verdict::have) {
      run_.ledger.held(b.index);
    } else {
      run_.ledger.expected(b.index, b.id);
    }
  }
  for (std::size_t at = 0; at < verdicts.size(); at += limits::answers_max) {
    auto const n = std::min(limits::answers_max, verdicts.size() - at);
    run_.session.answer(std::span(verdicts).subspan(at, n));
  }
  // What others asked for while the index was looked up is answered after our own verdicts.
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (!missing[i]) run_.context.claims.stored(asked[i]);
  }
  if (!verdicts.empty()) run_.wake_transmit();
}

task<> answering::groups(std::vector<digests_message> batch) {
  std::vector<data_block> pending;
  for (auto const& group : batch) {
    auto at = group.first;
    for (auto const& r : group.runs) {
      if (r.kind == run_kind::data || r.kind == run_kind::expected) {
        pending.push_back({at, r.id, r.kind == run_kind::expected, verdict::have});
      } else {
        // Lines are written in image order, so what came before the zeros goes first.
        if (!pending.empty()) co_await data(pending);
        pending.clear();
        co_await zeros(at, r.blocks);
      }
      at += r.blocks;
    }
  }
  if (!pending.empty()) co_await data(pending);
}

task<> answer_all(target_run& run, receiver<digests_message> announced) {
  std::optional<answering> state;
  while (auto first = co_await announced.receive()) {
    if (!state) state.emplace(run);
    std::vector<digests_message> batch;
    batch.push_back(std::move(*first));
    while (batch.size() < limits::lookup_groups_max) {
      auto more = announced.try_receive();
      if (!more) break;
      batch.push_back(std::move(*more));
    }
    co_await state->groups(std::move(batch));
  }
  run.context.log.debug(
      format("{}: {} blocks were as expected", run.plan.host, run.as_expected.value));
}

}  // namespace

// Who stands still holds what its manifest takes, so it is looked after from beside.
task<> answer_stage(target_run& run, receiver<digests_message> announced) {
  auto& share = run.ledger.manifest_share;
  if (!share) co_return co_await answer_all(run, std::move(announced));
  co_await with_watcher(answer_all(run, std::move(announced)), share->watch());
}

}  // namespace diskdump
