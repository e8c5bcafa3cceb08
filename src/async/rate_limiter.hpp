// A token bucket: spreads bytes over time, so that reading leaves a busy disk room, and receiving a
// busy link. Unused allowance does not pile up beyond limits::rate_allowance_max. The rate may
// change at any time. Single-threaded: all calls come from the executor's thread.
#pragma once

#include <cstdint>

#include "async/timer.hpp"

namespace diskdump {

class rate_limiter {
 public:
  // 0: no limit. `timers` outlives the limiter, and the limiter its waiters.
  rate_limiter(timer_source& timers, std::uint64_t bytes_per_s);

  // Charges `bytes`, and completes once all that was charged before them has been earned, resuming
  // on the executor; at once where it has. Any number may wait, each behind those that came before.
  // Cancelled: throws; the bytes stay charged.
  [[nodiscard]] task<> take(std::uint64_t bytes);

  // Those who wait follow within limits::rate_look_interval.
  void set_rate(std::uint64_t bytes_per_s);
  [[nodiscard]] std::uint64_t rate_bytes_per_s() const noexcept { return bytes_per_s_; }

  // The most bytes to take at a time, so that a slow dump still shows life: a quarter of a second.
  [[nodiscard]] std::uint64_t piece_bytes_max() const noexcept {
    return bytes_per_s_ == 0 ? ~std::uint64_t{0} : bytes_per_s_ / 4;
  }

 private:
  void earn();

  timer_source& timers_;
  std::uint64_t bytes_per_s_;
  // Totals since the beginning, in bytes; a double counts 9 PB to the byte.
  // Invariant: earned_ <= charged_ + what rate_allowance_max earns.
  double charged_ = 0;
  double earned_ = 0;
  clock_source::steady earned_until_;
};

}  // namespace diskdump
