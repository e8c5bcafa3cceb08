// The second stage. Takes groups of blocks in image order; gives DIGESTS to the server and the
// blocks to hold. All cores compare with zero and hash; several groups are in flight, and they are
// announced in image order as soon as they are done. The slot of a zero block, and of one that is
// what the server expects, is free at once.
#pragma once

#include <cstdint>
#include <vector>

#include "agent/hold.hpp"
#include "agent/output.hpp"
#include "agent/read.hpp"
#include "agent/turnstile.hpp"
#include "async/channel.hpp"
#include "async/offload.hpp"
#include "base/clock.hpp"
#include "wire/agent_session.hpp"

namespace diskdump {

// Turns digested groups into messages. Data goes out at once; zeros and blocks that are as expected
// need no answer and are collected into long runs, but for no longer than
// limits::progress_interval, and of the latter no more than limits::expected_report_blocks.
class announcer {
 public:
  // All outlive it.
  announcer(block_geometry geometry, block_index first, clock_source const& clock,
            agent_session& session, output& out, hold& held);

  // One block's outcome: nullopt is zeros.
  using block_outcome = std::optional<block_id>;

  // Completes when the group is announced or collected, and its blocks are held; resumes on the
  // executor. One at a time, in image order. Throws what session.bad_range() throws. Cancelled:
  // throws.
  [[nodiscard]] task<> add(read_group group, std::vector<block_outcome> outcomes);

  // Announces what is still collected. After the last group.
  void finish();

 private:
  void add_run(digest_run const& run);
  void flush();
  void add_bad(std::vector<bad_range> const& bad);

  block_geometry geometry_;
  clock_source const& clock_;
  agent_session& session_;
  output& out_;
  hold& held_;
  digests_message collected_;
  block_index next_;
  bool has_data_ = false;
  std::uint64_t expected_blocks_ = 0;  // of those collected
  std::vector<bad_range> bad_;         // the last one may still grow
  clock_source::steady flushed_at_;
};

// Completes when all groups are announced and `held` is closed, resuming on the executor. Throws
// as announcer::add(). Cancelled: throws once no worker uses a slot any more.
[[nodiscard]] task<> digest_stage(asio::any_io_executor executor, worker_pool& workers,
                                  block_geometry geometry, receiver<read_group> groups,
                                  announcer& announce, hold& held);

}  // namespace diskdump
