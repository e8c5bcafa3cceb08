// Work with somebody who looks after it from beside: a limit on its time, a look at whether the
// other end still lives. The end of the watcher, which the end of the work brings about, is no
// failure.
#pragma once

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "async/scope.hpp"

namespace diskdump {

namespace detail {

template <class T>
task<> run_watched(task<T> work, std::optional<T>& result, scope& both) {
  result.emplace(co_await std::move(work));
  both.cancel();
}
inline task<> run_watched(task<> work, std::optional<std::monostate>& result, scope& both) {
  co_await std::move(work);
  result.emplace();
  both.cancel();
}

}  // namespace detail

// Completes with the result of `work` when both have ended, resuming on the executor: once `work`
// has completed, `watcher` is cancelled, and whatever it throws by then is lost with it. Throws
// what `work` throws, or what `watcher` throws while it runs; the other one is then cancelled and
// has ended, and of two failures the first in time is thrown, as by a scope. A watcher that returns
// leaves the work to itself. A result that was reached is given, also where the watcher failed or
// the caller was cancelled in the same moment. Cancelled: both are. Each runs as a coroutine of its
// own; `work` is started first, to its first wait.
template <class T>
[[nodiscard]] task<T> with_watcher(task<T> work, task<> watcher) {
  std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>> result;
  std::exception_ptr failure;
  try {
    co_await with_scope([&](scope& both) {
      both.spawn(detail::run_watched(std::move(work), result, both));
      both.spawn(std::move(watcher));
    });
  } catch (...) {
    failure = std::current_exception();
  }
  if (!result) std::rethrow_exception(failure);
  if constexpr (!std::is_void_v<T>) co_return std::move(*result);
}

}  // namespace diskdump
