// Helpers of the wire tests: sample values, a check for the code of a thrown `error`, and a pair of
// sessions that talk to each other in memory.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/limits.hpp"
#include "codec/digest.hpp"
#include "wire/agent_session.hpp"
#include "wire/server_session.hpp"

namespace diskdump {

inline constexpr std::uint32_t block_bytes = 4096;

inline session_nonce sample_nonce() {
  session_nonce nonce{};
  for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<std::byte>(0xa0 + i);
  return nonce;
}

inline start_message sample_start(std::uint32_t batch_blocks = 8) {
  start_message m;
  m.path = "/dev/sda";
  m.block_bytes = block_bytes;
  m.batch_blocks = batch_blocks;
  return m;
}

inline hello_message sample_hello() {
  hello_message m;
  m.nonce = sample_nonce();
  m.architecture = machine_architecture::x86_64;
  m.engine = read_engine::uring;
  m.self_digest = sha256(as_bytes("agent"));
  m.build = "1.0.0";
  return m;
}

inline block_id sample_id(std::uint64_t n) { return sha256(as_bytes(std::to_string(n))); }

inline digest_run data_run(block_id const& id) { return {run_kind::data, id, {1}}; }
inline digest_run zero_run(std::uint64_t blocks, run_kind kind = run_kind::zeros) {
  return {kind, {}, {blocks}};
}

template <class Message>
byte_vector encoded(Message const& m) {
  byte_vector out;
  encode(out, m);
  return out;
}

inline byte_vector joined(std::initializer_list<byte_vector> parts) {
  byte_vector out;
  for (auto const& part : parts) append_bytes(out, part);
  return out;
}

// A frame with any bytes as payload.
inline byte_vector frame_of(message_kind kind, byte_view payload) {
  byte_vector out;
  append_le(out, static_cast<std::uint32_t>(payload.size()));
  append_le(out, static_cast<std::uint8_t>(kind));
  append_bytes(out, payload);
  return out;
}

inline byte_view payload_of(byte_vector const& frame) {
  return byte_view(frame).subspan(limits::frame_header_bytes);
}

// A BLOCK frame as an agent may send it that keeps no rule.
inline byte_vector block_frame(std::uint64_t index, block_codec codec, std::uint32_t raw_bytes,
                               byte_view payload) {
  byte_vector out;
  append_le(out, index);
  append_le(out, static_cast<std::uint8_t>(codec));
  append_le(out, raw_bytes);
  append_bytes(out, payload);
  return frame_of(message_kind::block, out);
}

// The code that `action` throws as `error`; no code where it does not throw.
inline std::error_code code_of(std::function<void()> const& action) {
  try {
    action();
    return {};
  } catch (error const& e) {
    INFO(e.what());
    CHECK(std::string(e.what()).find("\x1b") == std::string::npos);
    return e.code();
  }
}

// What `action` throws, as text; empty where it does not throw.
inline std::string text_of(std::function<void()> const& action) {
  try {
    action();
    return {};
  } catch (error const& e) {
    return e.what();
  }
}

// Feeds all of `input`, drops the events.
template <class Session>
void feed_all(Session& session, byte_view input) {
  while (!input.empty()) (void)session.feed(input);
}

// What feeding it all came to.
template <class Session>
std::error_code fed(Session& session, byte_view input) {
  return code_of([&] { feed_all(session, input); });
}

// The next event; REQUIRES that the bytes hold exactly one.
template <class Event, class Session>
Event feed_one(Session& session, byte_view input) {
  auto event = session.feed(input);
  REQUIRE(event);
  REQUIRE(input.empty());
  REQUIRE(std::holds_alternative<Event>(*event));
  return std::get<Event>(std::move(*event));
}

// A server session that has come as far as SOURCE.
inline server_session server_with_source(std::uint64_t image_bytes,
                                         start_message const& start = sample_start()) {
  server_session server(sample_nonce(), start);
  feed_all(server, encoded(sample_hello()));
  server.start();
  (void)server.take_output();
  feed_all(server, encoded(source_message{.image_bytes = image_bytes}));
  return server;
}

// An agent session that has come as far as SOURCE.
inline agent_session agent_with_source(std::uint64_t image_bytes,
                                       start_message const& start = sample_start()) {
  agent_session agent;
  agent.hello(sample_hello());
  feed_all(agent, encoded(start));
  agent.source({.image_bytes = image_bytes});
  (void)agent.take_output();
  return agent;
}

}  // namespace diskdump
