// The agent's end of one dump as a machine without I/O; the mirror of server_session. The server is
// not believed either: a wrong answer must not make the agent read or send out of its batch.
//
//   hello(); START → start_message; source(); digests(), ANSWER and SETTLE → verdicts; block();
//   … end(); DONE → finished
//
// Owned by one coroutine; no thread of its own. It holds one control frame, a table of at most
// batch_blocks entries, and limits::expectations_bytes_max of expected digests.
#pragma once

#include <deque>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

#include "wire/expectations.hpp"
#include "wire/frame.hpp"
#include "wire/image_digest.hpp"
#include "wire/messages.hpp"

namespace diskdump {

struct block_verdict {
  block_index index;
  verdict outcome = verdict::have;
};

struct finished {};

class agent_session {
 public:
  agent_session() : decoder_(wire_side::agent) {}

  using event = std::variant<start_message, std::vector<block_verdict>, codec_policy, limit_message,
                             finished>;

  // Takes bytes off the front of `input` until an event is complete or `input` is empty. ANSWER and
  // SETTLE both come out as verdicts; EXPECT is no event, see expected(). Throws `error` with a
  // wire_errc for any breach, and aborted_by_peer for ABORT. After a throw only abort() and
  // take_output() may be called.
  [[nodiscard]] std::optional<event> feed(byte_view& input);

  // First of all.
  void hello(hello_message const& m);
  // After start. Throws index_out_of_range where START's first block lies behind the image's end,
  // and malformed where the image is above limits::image_bytes_max.
  void source(source_message const& m);
  // What the server said that it holds and expects block `i` to be; no_block where it said
  // nothing, or too late: the block is announced. A block with this digest is announced as
  // run_kind::expected, and is settled by that.
  [[nodiscard]] block_id const& expected(block_index i) const noexcept { return expected_.at(i); }
  // Announces the next blocks; runs are counted and digested for END, and go out as several frames
  // where they are more than one may carry (a long hole is one run here).
  // REQUIRES: first == the next block; the runs do not pass the end of the image; an expected run
  // is one block with the id expected(); with their data blocks no more than batch_blocks are
  // unsettled.
  void digests(digests_message const& m);
  // Appends to `header` the frame and block header for a block whose payload is sent right after
  // it. REQUIRES: the server said need for `m.index` and it was not sent before; 0 < payload_bytes
  // <= m.raw_bytes, equal for codec raw.
  void block(block_header const& m, std::size_t payload_bytes, byte_vector& header);
  // The last note that the server accepts says that there are no more; later ones are dropped.
  void note(note_message const& m);
  // Said before the blocks that it is in, so that whoever has those blocks knows of it; a long one
  // in parts, which count as one. Throws too_much_talk (permanent) above limits::bad_ranges_max:
  // the disk is beyond help.
  void bad_range(bad_range_message const& m);
  // REQUIRES: complete().
  void end(std::uint64_t read_bytes);
  void abort(abort_message const& m);

  [[nodiscard]] byte_vector take_output();
  // Whether all blocks are announced and none waits for an answer or for being sent.
  [[nodiscard]] bool complete() const noexcept;
  // Data blocks announced and neither held by the server nor sent; at most batch_blocks.
  [[nodiscard]] std::size_t unsettled() const noexcept { return pending_.size(); }

 private:
  enum class stage : std::uint8_t { start, source, blocks, ended, finished };
  enum class slot : std::uint8_t { unanswered, waits, needed };

  [[nodiscard]] std::optional<event> on_frame(frame_decoder::frame&& frame);
  [[nodiscard]] event on_answer(answer_message const& m);
  [[nodiscard]] event on_settle(settle_message const& m);
  void on_expect(expect_message const& m);
  void expect_stage(message_kind kind, stage first, stage last) const;
  void announce(digest_run const& run);

  frame_decoder decoder_;
  stage stage_ = stage::start;
  start_message start_;
  block_geometry geometry_;
  std::optional<image_digest> announced_;
  // Invariant: pending_.size() <= start_.batch_blocks, and every index in unanswered_ is in it.
  std::unordered_map<std::uint64_t, slot> pending_;
  std::deque<block_index> unanswered_;
  expectations expected_;
  block_count sent_;
  std::size_t notes_ = 0;
  std::size_t bad_ranges_ = 0;
  std::uint64_t bad_until_bytes_ = 0;  // the end of the last one
  byte_vector output_;
};

}  // namespace diskdump
