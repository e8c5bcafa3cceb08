#include "async/retry.hpp"

#include <algorithm>
#include <cmath>

namespace diskdump {

std::chrono::milliseconds retry_delay(retry_policy const& policy, unsigned failed_attempts,
                                      double chance) {
  auto const first = static_cast<double>(policy.delay_first.count());
  auto const most = static_cast<double>(policy.delay_max.count());
  auto const whole = std::min(most, first * std::pow(policy.factor, failed_attempts - 1.0));
  auto const part = 1.0 - std::clamp(policy.jitter, 0.0, 1.0) * std::clamp(chance, 0.0, 1.0);
  return std::chrono::milliseconds(static_cast<std::int64_t>(whole * part));
}

bool worth_retrying(std::exception_ptr const& failure) noexcept {
  return severity_of(failure) == severity::transient;
}

}  // namespace diskdump
