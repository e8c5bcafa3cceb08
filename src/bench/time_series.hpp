// Counters over time in constant memory: what has been counted by when. When it is full, every
// second sample goes, and samples are taken half as often from then on.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "base/limits.hpp"

namespace diskdump {

class time_series {
 public:
  struct sample {
    std::chrono::duration<double> at{};
    std::vector<std::uint64_t> counts;  // one for each counter, growing
  };

  void add(std::chrono::duration<double> at, std::vector<std::uint64_t> counts) {
    if (!samples_.empty() && skipped_ + 1 < every_) {
      ++skipped_;
      return;
    }
    skipped_ = 0;
    samples_.push_back({at, std::move(counts)});
    if (samples_.size() < limits::bench_samples_max) return;
    // The first one and the last one stay.
    std::vector<sample> kept;
    for (std::size_t i = 0; i < samples_.size(); ++i) {
      if (i % 2 == 0 || i + 1 == samples_.size()) kept.push_back(std::move(samples_[i]));
    }
    samples_ = std::move(kept);
    every_ *= 2;
  }
  // The last one is kept whatever comes before it.
  void finish(std::chrono::duration<double> at, std::vector<std::uint64_t> counts) {
    samples_.push_back({at, std::move(counts)});
  }

  [[nodiscard]] std::vector<sample> const& samples() const noexcept { return samples_; }

 private:
  std::vector<sample> samples_;
  unsigned every_ = 1;
  unsigned skipped_ = 0;
};

}  // namespace diskdump
