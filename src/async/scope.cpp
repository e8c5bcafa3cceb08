#include "async/scope.hpp"

#include "async/async_errc.hpp"
#include "base/assert.hpp"

namespace diskdump {

std::string_view sentence(async_errc e) noexcept {
  switch (e) {
    case async_errc::channel_broken:
      return "the other stage of the pipeline ended early";
    case async_errc::timed_out:
      return "timed out";
  }
  return "unknown async error";
}

bool is_consequence(std::exception_ptr failure) noexcept {
  try {
    std::rethrow_exception(std::move(failure));
  } catch (error const& e) {
    return e.code() == async_errc::channel_broken;
  } catch (std::system_error const& e) {
    return e.code() == asio::error::operation_aborted;
  } catch (...) {
    return false;
  }
}

scope::scope(asio::any_io_executor executor) : executor_(std::move(executor)), idle_(executor_) {
  idle_.expires_at(asio::steady_timer::time_point::max());
}

// The children refer to the frame that is being left, so they must have ended. Nothing else can be
// awaited in a destructor: the event loop is run from here until they have.
scope::~scope() {
  if (children_.empty()) return;
  cancel();
  auto const* const loop = executor_.target<asio::io_context::executor_type>();
  DISKDUMP_ASSERT(loop != nullptr);
  while (!children_.empty() && loop->context().run_one() > 0) {
  }
  DISKDUMP_ASSERT(children_.empty());
}

void scope::record(std::exception_ptr failure) {
  if (is_consequence(failure)) {
    if (!first_noise_) first_noise_ = std::move(failure);
  } else if (!first_failure_) {
    first_failure_ = std::move(failure);
  }
}

void scope::fail(std::exception_ptr failure) {
  record(std::move(failure));
  cancel();
}

// The catch stands around the child itself, so that failures are recorded in the order in which
// they leave their coroutines, before any sibling can run.
task<> scope::run(task<> child, scope& self) {
  try {
    co_await std::move(child);
  } catch (...) {
    self.fail(std::current_exception());
  }
}

void scope::spawn(task<> child) {
  auto const state = std::make_shared<child_state>();
  auto const at = children_.insert(children_.end(), state);
  asio::co_spawn(
      executor_, run(std::move(child), *this),
      asio::bind_cancellation_slot(state->cancel.slot(), [this, at](std::exception_ptr e) {
        if (e) record(std::move(e));
        // The signal must outlive this handler, which Asio keeps in it.
        auto const ended = *at;
        children_.erase(at);
        if (children_.empty()) idle_.cancel();
      }));
  // By now the child waits for something, has ended, or (spawned from outside the event loop) has
  // not begun; in each case the signal finds it at its next wait.
  if (cancelled_) state->cancel.emit(asio::cancellation_type::terminal);
}

void scope::cancel() {
  cancelled_ = true;
  // A child may end inside emit(), so a copy is walked, which also keeps each signal alive.
  std::vector<std::shared_ptr<child_state>> const children(children_.begin(), children_.end());
  for (auto const& child : children) child->cancel.emit(asio::cancellation_type::terminal);
}

task<> scope::join() {
  // The state of the waiting coroutine is left as it was found: it stays cancelled afterwards, and
  // its later waits throw, as they would without a scope.
  bool const throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  bool passed_on = false;
  while (!children_.empty()) {
    if (!passed_on && (co_await asio::this_coro::cancellation_state).cancelled() !=
                          asio::cancellation_type::none) {
      passed_on = true;
      if (!first_noise_) {
        first_noise_ = std::make_exception_ptr(
            std::system_error(asio::error::make_error_code(asio::error::operation_aborted)));
      }
      cancel();
      continue;
    }
    asio::error_code ignored;
    co_await idle_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  co_await asio::this_coro::throw_if_cancelled(throws);
  if (first_failure_) std::rethrow_exception(first_failure_);
  if (first_noise_) std::rethrow_exception(first_noise_);
}

}  // namespace diskdump
