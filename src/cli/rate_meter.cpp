#include "cli/rate_meter.hpp"

#include "base/limits.hpp"

namespace diskdump {

void rate_meter::note(clock_source::steady now, std::uint64_t value) {
  if (!samples_.empty() && value < samples_.back().value) samples_.clear();
  // The newest moves along until it is far enough from the one before it to stay.
  bool const moves =
      samples_.size() >= 2 &&
      samples_.back().time - samples_[samples_.size() - 2].time < limits::rate_sample_interval;
  if (moves) {
    samples_.back() = {now, value};
  } else {
    samples_.push_back({now, value});
  }
  auto const forgotten = [&] {
    return samples_.size() > limits::rate_samples_max ||
           (samples_.size() > 2 && samples_[1].time <= now - limits::eta_window);
  };
  while (forgotten()) samples_.pop_front();
}

std::optional<double> rate_meter::over(std::chrono::steady_clock::duration window) const {
  if (samples_.size() < 2) return std::nullopt;
  auto const& newest = samples_.back();
  auto first = samples_.size() - 2;
  while (first > 0 && samples_[first].time > newest.time - window) --first;
  std::chrono::duration<double> const time = newest.time - samples_[first].time;
  if (time < limits::rate_sample_interval) return std::nullopt;
  return static_cast<double>(newest.value - samples_[first].value) / time.count();
}

}  // namespace diskdump
