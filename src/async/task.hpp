// The one place that includes Asio, so that its configuration is the same everywhere.
#pragma once

// Asio asks libstdc++ what it has by macros that exist only after one of its headers, and would
// otherwise be configured differently in a file that includes Asio first.
#include <cstdlib>

#include <asio.hpp>

namespace diskdump {

// Every coroutine of diskdump. Lazy: it starts when awaited or spawned into a `scope`.
template <class T = void>
using task = asio::awaitable<T, asio::any_io_executor>;

}  // namespace diskdump
