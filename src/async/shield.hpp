// Work and the cancellation of its caller, kept apart. Work that a cancellation does not reach,
// since leaving it half done would be worse than waiting for it; and work that may turn
// cancellation off, for its own last steps, without doing so for its caller.
#pragma once

#include <utility>

#include "async/task.hpp"

namespace diskdump {

// Completes with the result of `work`, or throws what it throws, resuming on the executor.
// Cancelled: `work` goes on, and so does the wait for it; the cancellation shows at the caller's
// next wait. A caller that was cancelled before throws without having begun. `work` runs as a
// coroutine of its own and bounds its own time.
template <class T>
[[nodiscard]] task<T> shielded(task<T> work) {
  co_return co_await asio::co_spawn(
      co_await asio::this_coro::executor, std::move(work),
      asio::bind_cancellation_slot(asio::cancellation_slot(),
                                   asio::use_awaitable_t<asio::any_io_executor>()));
}

// Completes with the result of `work`, or throws what it throws, resuming on the executor.
// Cancelled: `work` is. Where it has turned that off (asio::this_coro::reset_cancellation_state),
// it goes on, and the cancellation shows at the caller's next wait. `work` runs as a coroutine of
// its own: Asio keeps one cancellation state for all that await each other, and what one of them
// does to it stays when it returns.
template <class T>
[[nodiscard]] task<T> with_own_cancellation(task<T> work) {
  co_return co_await asio::co_spawn(co_await asio::this_coro::executor, std::move(work),
                                    asio::use_awaitable_t<asio::any_io_executor>());
}

}  // namespace diskdump
