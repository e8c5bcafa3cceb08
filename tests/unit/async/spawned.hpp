// A coroutine under test on an event loop that a test turns by hand: started, looked at, cancelled.
#pragma once

#include <exception>
#include <memory>

#include "async/task.hpp"
#include "base/error.hpp"

namespace diskdump {

struct spawned {
  asio::cancellation_signal signal;
  bool ended = false;
  std::exception_ptr failure;

  void cancel() { signal.emit(asio::cancellation_type::terminal); }
  [[nodiscard]] bool aborted() const {
    if (!failure) return false;
    try {
      std::rethrow_exception(failure);
    } catch (std::system_error const& e) {
      return e.code() == asio::error::operation_aborted;
    } catch (...) {
      return false;
    }
  }
  template <class E>
  [[nodiscard]] bool failed_with(E code) const {
    if (!failure) return false;
    try {
      std::rethrow_exception(failure);
    } catch (error const& e) {
      return e.code() == code;
    } catch (...) {
      return false;
    }
  }
};

// Runs everything that can run, without waiting for anything.
inline void settle(asio::io_context& loop) {
  loop.restart();
  loop.poll();
}

// Starts `work` and runs the loop until it is idle.
inline std::unique_ptr<spawned> start(asio::io_context& loop, task<> work) {
  auto child = std::make_unique<spawned>();
  auto* const self = child.get();
  asio::co_spawn(loop, std::move(work),
                 asio::bind_cancellation_slot(child->signal.slot(), [self](std::exception_ptr e) {
                   self->ended = true;
                   self->failure = e;
                 }));
  settle(loop);
  return child;
}

}  // namespace diskdump
