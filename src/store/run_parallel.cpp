#include "store/run_parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/limits.hpp"

namespace diskdump {

void run_parallel(std::size_t count, unsigned threads,
                  std::function<void(std::size_t)> const& action) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr first;
  auto const work = [&] {
    for (;;) {
      auto const i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= count) return;
      try {
        action(i);
      } catch (...) {
        std::lock_guard const lock(mutex);
        if (!first) first = std::current_exception();
        next = count;
        return;
      }
    }
  };
  auto const wanted = std::min<std::size_t>({count, threads, limits::upkeep_threads_max});
  {
    std::vector<std::jthread> others;
    for (std::size_t i = 1; i < wanted; ++i) others.emplace_back(work);
    work();
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace diskdump
