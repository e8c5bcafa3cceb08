#include "bench/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace diskdump {

// The first 64 buckets hold one value each; from there on each power of two has 64.
std::size_t latency_histogram::bucket_of(std::uint64_t ns) noexcept {
  ns = std::min(ns, (std::uint64_t{1} << value_bits) - 1);
  if (ns < parts) return ns;
  auto const exponent = static_cast<unsigned>(std::bit_width(ns)) - 1;
  auto const part = (ns >> (exponent - part_bits)) & (parts - 1);
  return (exponent - part_bits + 1) * parts + part;
}

std::uint64_t latency_histogram::middle_of(std::size_t bucket) noexcept {
  if (bucket < parts) return bucket;
  auto const shift = bucket / parts - 1;
  auto const lower = (parts + bucket % parts) << shift;
  return lower + (std::uint64_t{1} << shift) / 2;
}

void latency_histogram::add(std::chrono::nanoseconds latency) noexcept {
  auto const ns = static_cast<std::uint64_t>(std::max<std::int64_t>(latency.count(), 0));
  counts_[bucket_of(ns)].fetch_add(1, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  total_ns_.fetch_add(ns, std::memory_order_relaxed);
  auto seen = max_ns_.load(std::memory_order_relaxed);
  while (seen < ns && !max_ns_.compare_exchange_weak(seen, ns, std::memory_order_relaxed)) {
  }
}

void latency_histogram::reset() noexcept {
  for (auto& c : counts_) c.store(0, std::memory_order_relaxed);
  count_.store(0);
  max_ns_.store(0);
  total_ns_.store(0);
}

std::chrono::nanoseconds latency_histogram::max() const noexcept {
  return std::chrono::nanoseconds(max_ns_.load(std::memory_order_relaxed));
}

std::chrono::nanoseconds latency_histogram::total() const noexcept {
  return std::chrono::nanoseconds(total_ns_.load(std::memory_order_relaxed));
}

std::chrono::nanoseconds latency_histogram::quantile(double share) const noexcept {
  auto const n = count();
  if (n == 0) return {};
  auto const wanted =
      static_cast<std::uint64_t>(std::ceil(std::clamp(share, 0.0, 1.0) * static_cast<double>(n)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets; ++i) {
    seen += counts_[i].load(std::memory_order_relaxed);
    if (seen >= std::max<std::uint64_t>(wanted, 1)) {
      return std::min(std::chrono::nanoseconds(middle_of(i)), max());
    }
  }
  return max();
}

std::vector<latency_histogram::step> latency_histogram::distribution() const {
  std::vector<step> steps;
  auto const n = static_cast<double>(count());
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets; ++i) {
    auto const here = counts_[i].load(std::memory_order_relaxed);
    if (here == 0) continue;
    seen += here;
    steps.push_back(
        {std::min(std::chrono::nanoseconds(middle_of(i)), max()), static_cast<double>(seen) / n});
  }
  return steps;
}

}  // namespace diskdump
