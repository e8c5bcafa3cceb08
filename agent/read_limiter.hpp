// Spreads reads over time, so that a dump leaves a busy disk room. Unused allowance does not pile
// up beyond limits::read_allowance_max.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "async/timer.hpp"
#include "base/limits.hpp"

namespace diskdump {

class read_limiter {
 public:
  // `bytes_per_s` 0: no limit.
  read_limiter(timer_source& timers, std::uint64_t bytes_per_s)
      : timers_(timers), bytes_per_s_(bytes_per_s), paid_until_(timers.clock().now()) {}

  // Completes when `bytes` may be read, resuming on the executor. One call at a time. Cancelled:
  // throws; the allowance counts as used.
  [[nodiscard]] task<> take(std::uint64_t bytes) {
    if (bytes_per_s_ == 0) co_return;
    auto const now = timers_.clock().now();
    paid_until_ = std::max(paid_until_, now - limits::read_allowance_max);
    auto const delay = paid_until_ - now;
    paid_until_ += std::chrono::duration_cast<std::chrono::steady_clock::duration>(
        std::chrono::duration<double>(static_cast<double>(bytes) /
                                      static_cast<double>(bytes_per_s_)));
    if (delay > delay.zero()) co_await timers_.sleep(delay);
  }

  // The most bytes to ask for at a time, so that a slow dump still shows life.
  [[nodiscard]] std::uint64_t request_bytes_max() const noexcept {
    return bytes_per_s_ == 0 ? ~std::uint64_t{0} : bytes_per_s_ / 4;
  }

 private:
  timer_source& timers_;
  std::uint64_t bytes_per_s_;
  std::chrono::steady_clock::time_point paid_until_;
};

}  // namespace diskdump
