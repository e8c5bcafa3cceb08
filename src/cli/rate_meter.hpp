// How fast a counter grows, over the last seconds. Sampled by displays; knows no clock of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "base/clock.hpp"

namespace diskdump {

class rate_meter {
 public:
  // The counter's value at `now`, which does not go back. A value below the last one begins anew.
  void note(clock_source::steady now, std::uint64_t value);

  // Per second, over the last `window` as far as it was watched; nullopt until it was watched for
  // limits::rate_sample_interval.
  [[nodiscard]] std::optional<double> over(std::chrono::steady_clock::duration window) const;

 private:
  struct sample {
    clock_source::steady time;
    std::uint64_t value;
  };
  // At most limits::rate_samples_max, rate_sample_interval apart; the last is the newest value.
  std::deque<sample> samples_;
};

}  // namespace diskdump
