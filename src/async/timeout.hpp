// An operation with a limit on its time. It never races a receive against a timer and loses what
// was received: a result that arrived is given, also when the time ran out in the same moment.
#pragma once

#include <chrono>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "async/async_errc.hpp"
#include "async/scope.hpp"
#include "async/timer.hpp"

namespace diskdump {

namespace detail {

template <class T>
task<> run_limited(task<T> work, std::optional<T>& result, scope& both) {
  result.emplace(co_await std::move(work));
  both.cancel();
}
inline task<> run_limited(task<> work, std::optional<std::monostate>& result, scope& both) {
  co_await std::move(work);
  result.emplace();
  both.cancel();
}
inline task<> limit_time(timer_source& timers, std::chrono::steady_clock::duration duration) {
  co_await timers.sleep(duration);
  throw error(async_errc::timed_out, severity::transient);
}

}  // namespace detail

// Completes with the result of `work`, resuming on the executor. Throws what `work` throws, or
// timed_out (transient) when `duration` passed first; `work` is then cancelled and has ended.
// Cancelled: `work` is. `work` runs as a coroutine of its own.
template <class T>
[[nodiscard]] task<T> with_timeout(timer_source& timers,
                                   std::chrono::steady_clock::duration duration, task<T> work) {
  std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>> result;
  std::exception_ptr failure;
  try {
    co_await with_scope([&](scope& both) {
      both.spawn(detail::run_limited(std::move(work), result, both));
      both.spawn(detail::limit_time(timers, duration));
    });
  } catch (...) {
    failure = std::current_exception();
  }
  if (!result) std::rethrow_exception(failure);
  if constexpr (!std::is_void_v<T>) co_return std::move(*result);
}

// Whether `failure` says that a time ran out: the caller turns it into a code of its own.
[[nodiscard]] inline bool is_timeout(error const& failure) noexcept {
  return failure.code() == async_errc::timed_out;
}

}  // namespace diskdump
