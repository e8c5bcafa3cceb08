// The reader of stdin. Takes bytes from the server at all times, also while the output is full, so
// that two full pipes never wait for each other; gives the session's events to whom they concern.
// Single-threaded.
#pragma once

#include <optional>

#include "agent/hold.hpp"
#include "async/rate_limiter.hpp"
#include "async/wait_list.hpp"
#include "wire/agent_session.hpp"

namespace diskdump {

// What the server said that others wait for or look up.
struct server_word {
  explicit server_word(asio::any_io_executor executor) : changed(std::move(executor)) {}
  std::optional<start_message> start;
  codec_policy policy = codec_policy::lz4;
  hold* held = nullptr;             // set before the first announcement
  rate_limiter* reading = nullptr;  // set before the first read
  bool done = false;
  wait_list changed;  // woken when start or done is set
};

enum class control_end { done, closed };

// Completes with `done` after DONE, or with `closed` at the end of the stream, resuming on the
// executor. Throws agent_errc::bad_descriptor, wire_errc for what the server must not say, and
// aborted_by_peer. Once. Cancelled: throws. Takes over `fd`.
[[nodiscard]] task<control_end> read_server(int fd, agent_session& session, server_word& word);

}  // namespace diskdump
