// Where a seed's decisions come from, and the hash of what followed from them. The numbers are the
// same on every machine: nothing of the standard library's distributions is used.
#pragma once

#include <chrono>
#include <cstdint>

namespace diskdump::simulation {

// SplitMix64 (Steele, Lea, Flood 2014): every seed gives an independent sequence.
class random_sequence {
 public:
  explicit random_sequence(std::uint64_t seed) noexcept : state_(seed) {}

  std::uint64_t next() noexcept {
    state_ += 0x9e3779b97f4a7c15;
    auto z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // In [0, bound). REQUIRES: bound > 0.
  std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }
  // In [low, high].
  std::uint64_t between(std::uint64_t low, std::uint64_t high) noexcept {
    return low + below(high - low + 1);
  }
  bool percent(unsigned likely) noexcept { return below(100) < likely; }
  std::chrono::milliseconds milliseconds(std::uint64_t low, std::uint64_t high) noexcept {
    return std::chrono::milliseconds(between(low, high));
  }
  // A sequence of its own, so that what one part draws does not change what another one does.
  random_sequence fork() noexcept { return random_sequence(next()); }

 private:
  std::uint64_t state_;
};

// What happened, as one number: two runs of a seed must come out the same.
class trace {
 public:
  void add(std::uint64_t what) noexcept {
    hash_ = (hash_ ^ what) * 0x100000001b3;
    hash_ ^= hash_ >> 29;
    ++events_;
  }
  // Something moved: bytes, a block, an outcome. What only waits and looks does none of these.
  void deed() noexcept { ++deeds_; }
  [[nodiscard]] std::uint64_t deeds() const noexcept { return deeds_; }
  [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325;
  std::uint64_t events_ = 0;
  std::uint64_t deeds_ = 0;
};

}  // namespace diskdump::simulation
