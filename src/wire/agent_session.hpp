// The agent's end of one dump as a machine without I/O; the mirror of server_session. The server is
// not believed either: a wrong answer must not make the agent read or send out of its batch.
#pragma once

#include <deque>
#include <optional>
#include <unordered_map>
#include <variant>

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

  using event = std::variant<start_message, std::vector<block_verdict>, codec_policy, finished>;

  // Takes bytes off the front of `input` until an event is complete or `input` is empty. ANSWER and
  // SETTLE both come out as verdicts. Throws `error` with a wire_errc for any breach, and
  // aborted_by_peer for ABORT.
  [[nodiscard]] std::optional<event> feed(byte_view& input);

  void hello(hello_message const& m);
  void source(source_message const& m);  // after start
  // Announces the next blocks; runs are counted and digested for END.
  // REQUIRES: first == the next block; the runs do not pass the end of the image.
  void digests(digests_message const& m);
  // The frame and block header for a block whose payload is sent right after it.
  // REQUIRES: the server said need for `m.index` and it was not sent before.
  void block(block_header const& m, std::size_t payload_bytes, byte_vector& header);
  void note(note_message const& m);
  void bad_range(bad_range_message const& m);
  // REQUIRES: every block was announced, answered, and sent where needed.
  void end(std::uint64_t read_bytes);
  void abort(abort_message const& m);

  [[nodiscard]] byte_vector take_output();
  // Whether all blocks are announced and none waits for an answer or for being sent.
  [[nodiscard]] bool complete() const noexcept;
  [[nodiscard]] std::size_t unsettled() const noexcept { return pending_.size(); }

 private:
  enum class stage : std::uint8_t { start, source, blocks, ended, finished };
  enum class slot : std::uint8_t { unanswered, waits, needed };

  frame_decoder decoder_;
  stage stage_ = stage::start;
  start_message start_;
  block_geometry geometry_;
  std::optional<image_digest> announced_;
  std::unordered_map<std::uint64_t, slot> pending_;
  std::deque<block_index> unanswered_;
  block_count sent_;
  std::size_t notes_ = 0;
  byte_vector output_;
};

}  // namespace diskdump
