// Work that a cancellation of its caller does not reach, because leaving it half done would be
// worse than waiting for it.
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

}  // namespace diskdump
