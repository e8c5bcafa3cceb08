// An operation with a limit on its time. It never races a receive against a timer and loses what
// was received: a result that arrived is given, also when the time ran out in the same moment.
#pragma once

#include <chrono>
#include <utility>

#include "async/async_errc.hpp"
#include "async/timer.hpp"
#include "async/watcher.hpp"

namespace diskdump {

namespace detail {

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
  return with_watcher(std::move(work), detail::limit_time(timers, duration));
}

// Whether `failure` says that a time ran out: the caller turns it into a code of its own.
[[nodiscard]] inline bool is_timeout(error const& failure) noexcept {
  return failure.code() == async_errc::timed_out;
}

}  // namespace diskdump
