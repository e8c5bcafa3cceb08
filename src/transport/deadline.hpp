// A bound in time around a task. Called on the event loop's thread; resumes there.
#pragma once

#include <optional>
#include <type_traits>

#include "async/async_errc.hpp"
#include "async/scope.hpp"
#include "async/timer.hpp"

namespace diskdump {

namespace detail {

inline task<> fail_after(timer_source& timers, std::chrono::steady_clock::duration duration) {
  try {
    co_await timers.sleep(duration);
  } catch (std::system_error const& e) {
    if (e.code() == asio::error::operation_aborted) co_return;  // the work was done in time
    throw;
  }
  throw error(async_errc::timed_out, severity::transient);
}

template <class T>
task<> run_within(task<T> work, std::optional<T>& value, scope& both) {
  value.emplace(co_await std::move(work));
  both.cancel();
}
inline task<> run_within(task<> work, scope& both) {
  co_await std::move(work);
  both.cancel();
}

}  // namespace detail

// Completes as `work` does, resuming on the executor. Where `duration` passes first, `work` is
// cancelled, waited for, and async_errc::timed_out is thrown; the caller turns that into a code of
// its own. Cancelled: `work` is cancelled and waited for.
template <class T>
[[nodiscard]] task<T> within(timer_source& timers, std::chrono::steady_clock::duration duration,
                             task<T> work) {
  scope both(co_await asio::this_coro::executor);
  both.spawn(detail::fail_after(timers, duration));
  if constexpr (std::is_void_v<T>) {
    both.spawn(detail::run_within(std::move(work), both));
    co_await both.join();
  } else {
    std::optional<T> value;
    both.spawn(detail::run_within(std::move(work), value, both));
    co_await both.join();
    co_return std::move(*value);
  }
}

// Whether `failure` is the one that within() throws.
[[nodiscard]] inline bool is_timeout(error const& failure) noexcept {
  return failure.code() == async_errc::timed_out;
}

}  // namespace diskdump
