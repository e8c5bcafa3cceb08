#include "async/rate_limiter.hpp"

#include <algorithm>

#include "base/limits.hpp"

namespace diskdump {

namespace {

using seconds = std::chrono::duration<double>;

}  // namespace

rate_limiter::rate_limiter(timer_source& timers, std::uint64_t bytes_per_s)
    : timers_(timers), bytes_per_s_(bytes_per_s), earned_until_(timers.clock().now()) {}

void rate_limiter::earn() {
  auto const now = timers_.clock().now();
  auto const rate = static_cast<double>(bytes_per_s_);
  auto const allowance = rate * seconds(limits::rate_allowance_max).count();
  earned_ += rate * seconds(now - earned_until_).count();
  earned_ = std::min(earned_, charged_ + allowance);
  earned_until_ = now;
}

void rate_limiter::set_rate(std::uint64_t bytes_per_s) {
  earn();
  // Nothing is owed to a limit that is lifted.
  if (bytes_per_s == 0) earned_ = charged_;
  bytes_per_s_ = bytes_per_s;
}

task<> rate_limiter::take(std::uint64_t bytes) {
  if (bytes_per_s_ == 0) co_return;
  earn();
  auto const turn = charged_;
  charged_ += static_cast<double>(bytes);
  constexpr double rounding_bytes = 0.5;
  while (bytes_per_s_ != 0) {
    earn();
    auto const missing = turn - earned_;
    if (missing <= rounding_bytes) co_return;
    seconds const wanted(missing / static_cast<double>(bytes_per_s_));
    // Compared before the cast: at a very low rate the count of nanoseconds would not fit.
    auto const pause = std::min(wanted, seconds(limits::rate_look_interval));
    co_await timers_.sleep(std::chrono::ceil<std::chrono::nanoseconds>(pause));
  }
}

}  // namespace diskdump
