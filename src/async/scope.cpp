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

scope::~scope() { DISKDUMP_ASSERT(children_.empty()); }

void scope::record(std::exception_ptr failure) {
  if (is_consequence(failure)) {
    if (!first_noise_) first_noise_ = std::move(failure);
  } else if (!first_failure_) {
    first_failure_ = std::move(failure);
  }
}

// The catch stands around the child itself, so that failures are recorded in the order in which
// they leave their coroutines, before any sibling can run.
task<> scope::run(task<> child, scope& self) {
  try {
    co_await std::move(child);
  } catch (...) {
    self.record(std::current_exception());
    self.cancel();
  }
}

void scope::spawn(task<> child) {
  auto const at = children_.emplace(children_.end());
  asio::co_spawn(executor_, run(std::move(child), *this),
                 asio::bind_cancellation_slot(at->cancel.slot(), [this, at](std::exception_ptr e) {
                   if (e) record(std::move(e));
                   children_.erase(at);
                   if (children_.empty()) idle_.cancel();
                 }));
  if (cancelled_) {
    // The child's frame is entered from the executor; the signal must come after that.
    asio::post(executor_, [this] {
      if (cancelled_) cancel();
    });
  }
}

void scope::cancel() {
  cancelled_ = true;
  // A cancelled child may run on and end inside emit(); the list is walked with care for that.
  for (auto at = children_.begin(); at != children_.end();) {
    auto& child = *at++;
    child.cancel.emit(asio::cancellation_type::terminal);
  }
}

task<> scope::join() {
  co_await asio::this_coro::throw_if_cancelled(false);
  while (!children_.empty()) {
    asio::error_code ignored;
    co_await idle_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if ((co_await asio::this_coro::cancellation_state).cancelled() !=
            asio::cancellation_type::none &&
        !children_.empty()) {
      cancel();
      // From here on a further cancellation has nothing to add, and must not spin this loop.
      co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
      if (!first_noise_) {
        first_noise_ = std::make_exception_ptr(
            std::system_error(asio::error::make_error_code(asio::error::operation_aborted)));
      }
    }
  }
  co_await asio::this_coro::throw_if_cancelled(true);
  if (first_failure_) std::rethrow_exception(first_failure_);
  if (first_noise_) std::rethrow_exception(first_noise_);
}

}  // namespace diskdump
