#include "transport/process_stream.hpp"

#include <unistd.h>

#include <array>

#include "async/timeout.hpp"
#include "base/assert.hpp"
#include "base/limits.hpp"
#include "transport/connect.hpp"
#include "transport/tail_buffer.hpp"

namespace diskdump {

struct process_stream::shared {
  shared(asio::any_io_executor const& executor, child_command command)
      : child(executor, std::move(command)) {}
  child_process child;
  tail_buffer errors;
  std::array<std::byte, 4096> chunk;

  // What is in the pipe now, without waiting for a grandchild that may keep it open.
  void drain_errors_now() {
    if (!child.errors().is_open()) return;
    std::array<std::byte, 4096> more;
    for (std::size_t total = 0; total < limits::pipe_bytes;) {
      auto const n = ::read(child.errors().native_handle(), more.data(), more.size());
      if (n <= 0) return;
      errors.append(byte_view(more).first(static_cast<std::size_t>(n)));
      total += static_cast<std::size_t>(n);
    }
  }
};

process_stream::process_stream(asio::any_io_executor const& executor, timer_source& timers,
                               child_command command, std::string host)
    : timers_(timers), host_(std::move(host)) {
  ignore_sigpipe();
  state_ = std::make_shared<shared>(executor, std::move(command));
  // The synchronous read of drain_errors_now() must not block.
  state_->child.errors().native_non_blocking(true);
  drain_errors(state_);
}

process_stream::~process_stream() {
  asio::error_code ignored;
  state_->child.input().close(ignored);
  state_->child.output().close(ignored);
  state_->child.errors().close(ignored);
  state_->child.kill();
}

void process_stream::drain_errors(std::shared_ptr<shared> state) {
  auto& from = state->child.errors();
  auto const to = asio::buffer(state->chunk);
  from.async_read_some(to, [state = std::move(state)](asio::error_code failed, std::size_t n) {
    if (failed) return;
    state->errors.append(byte_view(state->chunk).first(n));
    drain_errors(state);
  });
}

task<std::size_t> process_stream::read(byte_span to) {
  DISKDUMP_ASSERT(!to.empty());
  auto const state = state_;
  asio::error_code failed;
  auto const n = co_await state->child.output().async_read_some(
      asio::buffer(to.data(), to.size()), asio::redirect_error(asio::use_awaitable, failed));
  if (failed == asio::error::eof) co_return 0;
  if (failed == asio::error::operation_aborted) throw std::system_error(failed);
  if (failed) {
    throw error(transport_errc::connection_lost, severity::transient)
        .host(host_)
        .cause(failed.message());
  }
  payload_bytes_ += n;
  co_return n;
}

task<> process_stream::write(byte_view bytes) {
  auto const state = state_;
  while (!bytes.empty()) {
    asio::error_code failed;
    auto const n = co_await state->child.input().async_write_some(
        asio::buffer(bytes.data(), bytes.size()),
        asio::redirect_error(asio::use_awaitable, failed));
    if (failed == asio::error::operation_aborted) throw std::system_error(failed);
    if (failed) {
      throw error(transport_errc::connection_lost, severity::transient)
          .host(host_)
          .cause(failed == asio::error::broken_pipe ? "the program reads no further"
                                                    : failed.message());
    }
    payload_bytes_ += n;
    bytes = bytes.subspan(n);
  }
}

task<> process_stream::write_eof() {
  asio::error_code ignored;
  state_->child.input().close(ignored);
  co_return;
}

namespace {

// Reads stdout to its end, so that a program that still writes is not killed by SIGPIPE.
task<> discard(asio::posix::stream_descriptor& from) {
  byte_vector chunk(limits::stream_read_bytes);
  for (;;) {
    asio::error_code failed;
    co_await from.async_read_some(asio::buffer(chunk),
                                  asio::redirect_error(asio::use_awaitable, failed));
    if (failed == asio::error::operation_aborted) throw std::system_error(failed);
    if (failed) co_return;
  }
}

task<> finish(child_process& child) {
  co_await discard(child.output());
  co_await child.wait();
}

}  // namespace

task<exit_report> process_stream::close() {
  auto const state = state_;
  asio::error_code ignored;
  state->child.input().close(ignored);
  if (!state->child.poll() || state->child.output().is_open()) {
    bool in_time = true;
    try {
      co_await with_timeout(timers_, limits::close_wait_max, finish(state->child));
    } catch (error const& e) {
      if (!is_timeout(e)) throw;
      in_time = false;
    }
    state->child.output().close(ignored);
    if (!in_time && !state->child.poll()) {
      state->child.kill();
      try {
        co_await with_timeout(timers_, limits::close_wait_max, state->child.wait());
      } catch (error const& e) {
        if (!is_timeout(e)) throw;
      }
    }
  }
  state->drain_errors_now();
  exit_report report;
  if (auto const end = state->child.poll()) {
    report.status = end->status;
    report.signal = end->signal;
  }
  report.stderr_tail = state->errors.text();
  co_return report;
}

std::string process_stream::stderr_tail() const {
  state_->drain_errors_now();
  return state_->errors.text();
}

std::optional<child_end> process_stream::ended() { return state_->child.poll(); }

task<child_end> process_stream::wait_end() {
  auto const state = state_;
  co_return co_await state->child.wait();
}

}  // namespace diskdump
