// Blocking work on several threads, for what looks after a store. Internal to src/store and to what
// reports on a store.
#pragma once

#include <cstddef>
#include <functional>

namespace diskdump {

// Calls action(i) for every i below `count`, in about ascending order, on at most `threads`
// threads, of which the caller's is one. When one call throws, no further i is handed out, and the
// exception that was thrown first is thrown here after all have ended.
void run_parallel(std::size_t count, unsigned threads,
                  std::function<void(std::size_t)> const& action);

}  // namespace diskdump
