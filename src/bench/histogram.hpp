// Latencies in constant memory: each power of two of nanoseconds is cut into 64 equal parts, so
// that any quantile is known within 0.8 % whatever was recorded (as HdrHistogram does it). 19 KiB.
// Any thread may add while others read; what is read meanwhile is a moment's picture.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace diskdump {

class latency_histogram {
 public:
  // A bucket is 1/64 of its lower end wide, and its middle stands for it: 1/128 at the most.
  static constexpr double error_max = 1.0 / 128;

  void add(std::chrono::nanoseconds latency) noexcept;
  // REQUIRES: nobody adds meanwhile.
  void reset() noexcept;

  [[nodiscard]] std::uint64_t count() const noexcept {
    return count_.load(std::memory_order_relaxed);
  }
  // Exact.
  [[nodiscard]] std::chrono::nanoseconds max() const noexcept;
  [[nodiscard]] std::chrono::nanoseconds total() const noexcept;

  // What `share` (0 to 1) of all latencies do not exceed; 0 where there are none.
  [[nodiscard]] std::chrono::nanoseconds quantile(double share) const noexcept;

  // The distribution: for each bucket that is not empty, in ascending order, the share of all
  // latencies that is no longer.
  struct step {
    std::chrono::nanoseconds latency;
    double share = 0;
  };
  [[nodiscard]] std::vector<step> distribution() const;

 private:
  static constexpr unsigned part_bits = 6;
  static constexpr std::uint64_t parts = std::uint64_t{1} << part_bits;
  // 2^42 ns are 73 minutes; what takes longer counts as that, but for max() and total().
  static constexpr unsigned value_bits = 42;
  static constexpr std::size_t buckets = (value_bits - part_bits + 1) * parts;

  [[nodiscard]] static std::size_t bucket_of(std::uint64_t ns) noexcept;
  [[nodiscard]] static std::uint64_t middle_of(std::size_t bucket) noexcept;

  std::array<std::atomic<std::uint64_t>, buckets> counts_{};
  std::atomic<std::uint64_t> count_{0}, max_ns_{0}, total_ns_{0};
};

}  // namespace diskdump
