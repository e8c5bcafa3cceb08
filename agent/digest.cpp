#include "agent/digest.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "async/scope.hpp"
#include "base/assert.hpp"
#include "base/limits.hpp"
#include "codec/digest.hpp"

namespace diskdump {

// ---- Announcing ---------------------------------------------------------------------------------

announcer::announcer(block_geometry geometry, block_index first, clock_source const& clock,
                     agent_session& session, output& out, hold& held)
    : geometry_(geometry),
      clock_(clock),
      session_(session),
      out_(out),
      held_(held),
      next_(first),
      flushed_at_(clock.now()) {
  collected_.first = first;
}

task<> announcer::add(read_group group, std::vector<block_outcome> outcomes) {
  co_await out_.room();
  DISKDUMP_ASSERT(group.first == next_);
  add_bad(group.bad);
  if (group.hole.value > 0) add_run({run_kind::hole, {}, group.hole});
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (!outcomes[i]) {
      group.slots[i].release();
      add_run({run_kind::zeros, {}, block_count{1}});
      continue;
    }
    if (*outcomes[i] == session_.expected(next_)) {
      group.slots[i].release();
      add_run({run_kind::expected, *outcomes[i], block_count{1}});
      continue;
    }
    held_.add({next_, geometry_.length_bytes(next_), std::move(group.slots[i])});
    add_run({run_kind::data, *outcomes[i], block_count{1}});
  }
  if (has_data_ || expected_blocks_ >= limits::expected_report_blocks ||
      clock_.now() - flushed_at_ >= limits::progress_interval) {
    flush();
  }
}

void announcer::add_run(digest_run const& run) {
  next_ += run.blocks;
  auto& runs = collected_.runs;
  if (run.kind == run_kind::data) {
    has_data_ = true;
  } else if (run.kind == run_kind::expected) {
    ++expected_blocks_;
  } else if (!runs.empty() && runs.back().kind == run.kind) {
    runs.back().blocks += run.blocks;
    // The session cuts a long run into frames; what one group adds is at most one frame's worth.
    if (runs.back().blocks.value >= limits::digests_blocks_max) flush();
    return;
  }
  runs.push_back(run);
  if (runs.size() == limits::digest_runs_max) flush();
}

void announcer::flush() {
  // Before the blocks that they are in: a dump that breaks off and goes on behind these blocks
  // would not hear of them again.
  for (auto const& range : bad_) session_.bad_range({range.offset_bytes, range.length_bytes});
  bad_.clear();
  if (!collected_.runs.empty()) {
    session_.digests(collected_);
    out_.flush_session();
    collected_.runs.clear();
    collected_.first = next_;
  }
  has_data_ = false;
  expected_blocks_ = 0;
  flushed_at_ = clock_.now();
}

void announcer::add_bad(std::vector<bad_range> const& bad) {
  for (auto const& range : bad) add_bad_range(bad_, range);
}

void announcer::finish() { flush(); }

// ---- Digesting ----------------------------------------------------------------------------------

namespace {

struct digest_stage_state {
  worker_pool& workers;
  block_geometry geometry;
  receiver<read_group> groups;
  announcer& announce;
  turnstile turns;
};

// The outcomes of some blocks that follow each other.
void find_outcomes(std::span<byte_view const> blocks,
                   std::span<announcer::block_outcome> outcomes) {
  std::array<byte_view, sha256_at_once> data;
  std::array<std::size_t, sha256_at_once> places;
  std::array<block_id, sha256_at_once> ids;
  std::size_t count = 0;
  auto const hash = [&] {
    sha256_each(std::span(data).first(count), std::span(ids).first(count));
    for (std::size_t i = 0; i < count; ++i) outcomes[places[i]] = ids[i];
    count = 0;
  };
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (is_zero(blocks[i])) continue;
    data[count] = blocks[i];
    places[count] = i;
    if (++count == data.size()) hash();
  }
  hash();
}

task<std::vector<announcer::block_outcome>> digest_group(digest_stage_state& stage,
                                                         read_group const& group) {
  std::vector<announcer::block_outcome> outcomes(group.slots.size());
  std::vector<byte_view> blocks(group.slots.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    auto const length = stage.geometry.length_bytes(group.first + block_count{i});
    blocks[i] = group.slots[i].bytes().first(length);
  }
  // With more cores than lanes a group is spread over several of them, as far as each still gets
  // enough to be worth the way, and so many as are hashed at once.
  auto const blocks_per_part = std::max<std::size_t>(
      sha256_at_once, limits::worker_hop_bytes_min / stage.geometry.block_bytes);
  auto const parts = (outcomes.size() + blocks_per_part - 1) / blocks_per_part;
  bool const spread = parts > 1 && stage.workers.threads() > limits::digest_groups_in_flight_max;
  if (spread) {
    co_await parallel_for(stage.workers, parts, [&](std::size_t part) {
      auto const first = part * blocks_per_part;
      auto const count = std::min(blocks.size() - first, blocks_per_part);
      find_outcomes(std::span(blocks).subspan(first, count),
                    std::span(outcomes).subspan(first, count));
    });
  } else {
    co_await offload(stage.workers, [&] { find_outcomes(blocks, outcomes); });
  }
  co_return outcomes;
}

task<> digest_lane(digest_stage_state& stage) {
  while (auto group = co_await stage.groups.receive()) {
    std::vector<announcer::block_outcome> outcomes;
    if (!group->slots.empty()) outcomes = co_await digest_group(stage, *group);
    auto const ticket = group->ticket;
    co_await stage.turns.wait(ticket);
    co_await stage.announce.add(std::move(*group), std::move(outcomes));
    stage.turns.next();
  }
}

}  // namespace

task<> digest_stage(asio::any_io_executor executor, worker_pool& workers, block_geometry geometry,
                    receiver<read_group> groups, announcer& announce, hold& held) {
  digest_stage_state stage{workers, geometry, std::move(groups), announce, turnstile(executor)};
  co_await with_scope([&](scope& lanes) {
    for (std::size_t i = 0; i < limits::digest_groups_in_flight_max; ++i) {
      lanes.spawn(digest_lane(stage));
    }
  });
  announce.finish();
  held.close();
}

}  // namespace diskdump
