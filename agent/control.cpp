#include "agent/control.hpp"

#include <utility>
#include <variant>

#include "agent/agent_errc.hpp"
#include "base/limits.hpp"

namespace diskdump {

namespace {

void hand_on(server_word& word, agent_session::event&& event) {
  if (auto* const start = std::get_if<start_message>(&event)) {
    word.policy = start->codec;
    word.start = std::move(*start);
    word.changed.wake_all();
  } else if (auto const* const verdicts = std::get_if<std::vector<block_verdict>>(&event)) {
    for (auto const& verdict : *verdicts) word.held->apply(verdict);
  } else if (auto const* const limit = std::get_if<limit_message>(&event)) {
    // A limiter that is still to be made is made with what START says.
    word.start->read_limit_bytes_per_s = limit->read_limit_bytes_per_s;
    if (word.reading != nullptr) word.reading->set_rate(limit->read_limit_bytes_per_s);
  } else if (auto const* const policy = std::get_if<codec_policy>(&event)) {
    word.policy = *policy;
  } else {
    word.done = true;
    word.changed.wake_all();
  }
}

}  // namespace

task<control_end> read_server(int fd, agent_session& session, server_word& word) {
  asio::posix::stream_descriptor input(co_await asio::this_coro::executor);
  asio::error_code failed;
  input.assign(fd, failed);
  if (failed) throw error(agent_errc::bad_descriptor, severity::permanent).cause("stdin");
  byte_vector buffer(limits::control_read_bytes);
  while (!word.done) {
    auto const got = co_await input.async_read_some(
        asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, failed));
    if (failed == asio::error::operation_aborted) throw std::system_error(failed);
    if (failed) co_return control_end::closed;
    byte_view fresh = byte_view(buffer).first(got);
    while (auto event = session.feed(fresh)) hand_on(word, std::move(*event));
  }
  co_return control_end::done;
}

}  // namespace diskdump
