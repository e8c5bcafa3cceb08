// The one place that includes Asio, so that its configuration is the same everywhere.
#pragma once

#include <asio.hpp>
#include <asio/experimental/as_tuple.hpp>

namespace diskdump {

// Every coroutine of diskdump. Lazy: it starts when awaited or spawned into a `scope`.
template <class T = void>
using task = asio::awaitable<T, asio::any_io_executor>;

}  // namespace diskdump
