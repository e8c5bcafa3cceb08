// How long the stages of a dump or a restore were at work, for a benchmark: counters that any
// thread adds to while others read. A context without them pays a comparison per batch of blocks;
// with them, two clocks are read twice per batch (about 1 µs for 256 KiB).
#pragma once

#include <time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace diskdump {

// The event loop's own stages (receive, settle, transmit) have none: they are what its thread does.
enum class stage : std::uint8_t {
  look_up,         // dump: the index is asked, the manifest's lines are written
  verify,          // dump: blocks are decompressed and hashed
  persist,         // dump: blocks are put into the store
  seal,            // dump: barrier and manifest
  wait_for_agent,  // dump: nothing to receive; no work
  wait_for_room,   // dump: the target's memory is full of blocks that are not stored yet; no work
  plan,            // restore: the manifest is read
  fetch,           // restore: blocks are read from the store, decompressed and hashed
  write,           // restore: the output
};
inline constexpr std::size_t stage_count = 9;

class stage_times {
 public:
  struct figures {
    std::chrono::nanoseconds busy{};  // of all threads together
    std::chrono::nanoseconds cpu{};   // of it, on a processor; 0 for what is awaited
    std::uint64_t bytes = 0;          // of the image; 0 where the stage does not count them
  };

  void add(stage which, figures const& more) noexcept {
    auto& c = counters_[static_cast<std::size_t>(which)];
    c.busy_ns.fetch_add(static_cast<std::uint64_t>(more.busy.count()), std::memory_order_relaxed);
    c.cpu_ns.fetch_add(static_cast<std::uint64_t>(more.cpu.count()), std::memory_order_relaxed);
    c.bytes.fetch_add(more.bytes, std::memory_order_relaxed);
  }

  [[nodiscard]] figures of(stage which) const noexcept {
    auto const& c = counters_[static_cast<std::size_t>(which)];
    auto const time = [](std::atomic<std::uint64_t> const& ns) {
      return std::chrono::nanoseconds(ns.load(std::memory_order_relaxed));
    };
    return {time(c.busy_ns), time(c.cpu_ns), c.bytes.load(std::memory_order_relaxed)};
  }

 private:
  struct counters {
    std::atomic<std::uint64_t> busy_ns{0}, cpu_ns{0}, bytes{0};
  };
  std::array<counters, stage_count> counters_;
};

// Counts from here to the end of the scope, on one thread. `times` may be null.
class stage_timer {
 public:
  stage_timer(stage_times* times, stage which) noexcept : times_(times), which_(which) {
    if (times_ == nullptr) return;
    began_ = std::chrono::steady_clock::now();
    cpu_began_ = thread_cpu();
  }
  ~stage_timer() {
    if (times_ == nullptr) return;
    auto const busy = std::chrono::steady_clock::now() - began_;
    times_->add(which_, {busy, thread_cpu() - cpu_began_, bytes_});
  }
  stage_timer(stage_timer const&) = delete;
  stage_timer& operator=(stage_timer const&) = delete;

  void count(std::uint64_t image_bytes) noexcept { bytes_ += image_bytes; }

 private:
  static std::chrono::nanoseconds thread_cpu() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  }

  stage_times* times_;
  stage which_;
  std::uint64_t bytes_ = 0;
  std::chrono::steady_clock::time_point began_;
  std::chrono::nanoseconds cpu_began_{};
};

// The same for what a coroutine awaits: it may be resumed after others have run, so only the time
// that passed is counted.
class wait_timer {
 public:
  wait_timer(stage_times* times, stage which) noexcept : times_(times), which_(which) {
    if (times_ != nullptr) began_ = std::chrono::steady_clock::now();
  }
  ~wait_timer() {
    if (times_ != nullptr) times_->add(which_, {std::chrono::steady_clock::now() - began_, {}, 0});
  }
  wait_timer(wait_timer const&) = delete;
  wait_timer& operator=(wait_timer const&) = delete;

 private:
  stage_times* times_;
  stage which_;
  std::chrono::steady_clock::time_point began_;
};

}  // namespace diskdump
