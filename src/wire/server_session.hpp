// The server's end of one dump as a machine without I/O: feed() bytes from the agent, get events;
// call the verbs, take_output() and send it. Everything the agent says is checked here against the
// exchange: order, ranges, window, what was asked for, totals. Not checked here: that a block's
// content has its digest (that is CPU work for the workers; see block_received::id).
//
//   HELLO → hello; start(); SOURCE → source; DIGESTS → digests; answer(); BLOCK → block_incoming,
//   block_received; … END → ended; finish()
//
// Owned by one coroutine; no thread of its own. It holds one frame's payload, a table of at most
// batch_blocks entries, and limits::expectations_bytes_max of expected digests. Texts of the agent
// in events and errors are printable().
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <variant>

#include "wire/expectations.hpp"
#include "wire/frame.hpp"
#include "wire/image_digest.hpp"
#include "wire/messages.hpp"

namespace diskdump {

struct block_received {
  block_index index;
  block_id id;  // what the content must hash to
  block_codec codec = block_codec::raw;
  std::uint32_t raw_bytes = 0;  // equals the geometry's length of the block
  byte_vector payload;
};
// A BLOCK is coming: take a lease for payload_bytes, and for what they will become, before feeding
// on.
struct block_incoming {
  block_index index;
  block_codec codec = block_codec::raw;
  std::uint32_t raw_bytes = 0;
  std::size_t payload_bytes = 0;
};
struct ended {
  end_message totals;
};

class server_session {
 public:
  // `start` is sent by start(); its geometry rules what is accepted. Throws wire_errc::malformed
  // (permanent) where check(start) does.
  server_session(session_nonce const& nonce, start_message start);

  using event = std::variant<hello_message, source_message, digests_message, block_incoming,
                             block_received, note_message, bad_range_message, ended>;

  // Takes bytes off the front of `input` until an event is complete or `input` is empty. Throws
  // `error` with a wire_errc for any breach, and aborted_by_peer for ABORT (with the agent's code,
  // offset and text as cause). After a throw only abort() and take_output() may be called.
  // Expected blocks come as runs of one block each, with the id that expect() told.
  [[nodiscard]] std::optional<event> feed(byte_view& input);

  // The stream ended: throws early_end (or no_hello, with the noise as cause) unless END came.
  void feed_eof();

  // REQUIRES: the hello event came, and start() was not called before.
  void start();
  // Verdicts for the next data blocks without one, in the order of their announcement. `wait` keeps
  // the block's slot until settle(). REQUIRES: verdicts.size() <= unanswered().
  void answer(std::span<verdict const> verdicts);
  // REQUIRES: block `index` was told to wait; outcome is have or need.
  void settle(block_index index, verdict outcome);
  // Once the agent has ended this does nothing. REQUIRES: start() was called.
  void switch_codec(codec_policy policy);
  // The agent reads so fast at most (0: as it can): told by start() if that is still to come, at
  // once otherwise. Once the agent has ended this does nothing.
  void limit_read(std::uint64_t bytes_per_s);
  // Tells the agent what we hold and expect the blocks from `first` on to be (no_block: nothing):
  // those that are it need neither a slot nor an answer. What was announced meanwhile, and
  // no_block at both ends, is left out; once the agent has ended this does nothing.
  // REQUIRES: start() was called; first >= expected_until(); expected_room() for those ids that are
  // not no_block.
  void expect(block_index first, std::span<block_id const> ids);
  // The first block that may still be told by expect().
  [[nodiscard]] block_index expected_until() const noexcept { return expected_.told_until(); }
  [[nodiscard]] std::size_t expected_room() const noexcept { return expected_.room(); }
  // The next block that the agent will announce, as far as we know.
  [[nodiscard]] block_index expected_from() const noexcept;
  // Tells the agent that all is well. REQUIRES: the ended event came.
  void finish();
  // Tells the agent to stop; any time.
  void abort(abort_code code, std::string_view text);

  // What is to be sent, in order; empty where there is nothing.
  [[nodiscard]] byte_vector take_output();

  [[nodiscard]] std::size_t unanswered() const noexcept { return unanswered_.size(); }
  // Data blocks announced and neither held nor received; at most batch_blocks.
  [[nodiscard]] std::size_t unsettled() const noexcept { return pending_.size(); }
  // Of these, the blocks that the agent was asked to send.
  [[nodiscard]] std::size_t needed() const noexcept { return needed_; }
  // Whether it is the agent's turn to say something. It is not while all of its memory holds
  // blocks that we have not answered, or that are to come from elsewhere.
  [[nodiscard]] bool owes() const noexcept;
  // Whether start() was called.
  [[nodiscard]] bool has_started() const noexcept { return stage_ > stage::start; }
  [[nodiscard]] block_geometry geometry() const noexcept { return geometry_; }
  // Whether END came and was right.
  [[nodiscard]] bool has_ended() const noexcept { return stage_ >= stage::ended; }
  // Counts, next index and zero ids of what was announced so far. REQUIRES: the source event came.
  [[nodiscard]] image_digest const& announced() const noexcept { return *announced_; }

 private:
  enum class stage : std::uint8_t { noise, hello, start, source, blocks, ended, finished };
  enum class slot : std::uint8_t { unanswered, waits, needed };
  struct pending {
    block_id id;
    slot state = slot::unanswered;
  };
  [[nodiscard]] event on_frame(frame_decoder::frame&& frame);
  [[nodiscard]] event on_hello(hello_message&& m);
  [[nodiscard]] event on_source(source_message&& m);
  [[nodiscard]] event on_digests(digests_message&& m);
  [[nodiscard]] event on_block_announced(frame_decoder::block_announced const& block) const;
  [[nodiscard]] event on_block(frame_decoder::frame&& frame);
  [[nodiscard]] event on_note(note_message&& m);
  [[nodiscard]] event on_bad_range(bad_range_message&& m);
  [[nodiscard]] event on_end(end_message&& m);
  void check_announcement(digests_message const& m) const;
  void expect_stage(message_kind kind, stage wanted) const;
  void check_invariant() const;

  start_message start_;
  stage stage_ = stage::noise;
  hello_scanner scanner_;
  frame_decoder decoder_{wire_side::server};
  block_geometry geometry_;
  std::optional<image_digest> announced_;
  // Invariant: pending_.size() <= start_.batch_blocks, and every index in unanswered_ is in it.
  std::unordered_map<std::uint64_t, pending> pending_;
  std::deque<block_index> unanswered_;
  expectations expected_;
  std::size_t needed_ = 0;  // of pending_
  block_count received_;
  std::uint64_t bad_until_bytes_ = 0;  // the end of the last bad range
  std::size_t notes_ = 0;
  std::size_t bad_ranges_ = 0;
  byte_vector output_;
};

}  // namespace diskdump
