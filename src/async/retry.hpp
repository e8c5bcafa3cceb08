// Trying again what may succeed later. The policy is a value and the delay a pure function of it,
// so that a test computes what it expects.
#pragma once

#include <chrono>
#include <concepts>
#include <exception>
#include <functional>
#include <type_traits>

#include "async/timer.hpp"
#include "base/error.hpp"

namespace diskdump {

struct retry_policy {
  unsigned attempts_max = 5;  // the first one counts
  std::chrono::milliseconds delay_first{500};
  std::chrono::milliseconds delay_max{30'000};
  double factor = 2.0;  // of each delay to the one before
  double jitter = 0.5;  // the part of each delay that chance takes away: 0 none, 1 all of it
};

// A number in [0, 1): chance in production, a fixed sequence in a test.
using random_source = std::function<double()>;

// How long to wait after so many failed attempts (≥ 1): exponential, bounded, less up to `jitter`.
[[nodiscard]] std::chrono::milliseconds retry_delay(retry_policy const& policy,
                                                    unsigned failed_attempts, double chance);

// Whether a failure is worth another attempt: transient, and not a cancellation.
[[nodiscard]] bool worth_retrying(std::exception_ptr const& failure) noexcept;

// Awaits make_task() until it succeeds, at most policy.attempts_max times, with a pause after each
// transient failure. Completes with its result; throws the last failure. Cancelled: the attempt or
// the pause is, and no further attempt is made.
template <class MakeTask>
[[nodiscard]] auto retry(timer_source& timers, retry_policy policy, random_source chance,
                         MakeTask make_task) -> std::invoke_result_t<MakeTask&> {
  for (unsigned attempt = 1;; ++attempt) {
    std::exception_ptr failure;
    try {
      co_return co_await make_task();
    } catch (...) {
      failure = std::current_exception();
    }
    if (attempt >= policy.attempts_max || !worth_retrying(failure)) {
      std::rethrow_exception(failure);
    }
    co_await timers.sleep(retry_delay(policy, attempt, chance()));
  }
}

}  // namespace diskdump
