// Waiting for time to pass, as an interface: a real one on Asio's timers, and one whose clock a
// test moves by hand.
#pragma once

#include <atomic>
#include <map>

#include "async/wait_list.hpp"
#include "base/clock.hpp"

namespace diskdump {

class timer_source {
 public:
  virtual ~timer_source() = default;
  [[nodiscard]] virtual clock_source const& clock() const = 0;
  // Completes when `duration` has passed, resuming on the executor. Cancelled: throws
  // operation_aborted. Any number at once.
  [[nodiscard]] virtual task<> sleep(std::chrono::steady_clock::duration duration) = 0;
};

class asio_timer_source final : public timer_source {
 public:
  [[nodiscard]] clock_source const& clock() const override { return clock_; }
  [[nodiscard]] task<> sleep(std::chrono::steady_clock::duration duration) override;

 private:
  system_clock_source clock_;
};

// Time stands still until advance(). Sleepers whose time has come are woken in order of their time.
// Of the executor's thread; the clock may be read by any, as every clock may.
class manual_timer_source final : public timer_source {
 public:
  explicit manual_timer_source(asio::any_io_executor executor) : executor_(std::move(executor)) {}
  [[nodiscard]] clock_source const& clock() const override { return clock_; }
  [[nodiscard]] task<> sleep(std::chrono::steady_clock::duration duration) override;
  void advance(std::chrono::steady_clock::duration duration);
  // Moves the clock to where the next sleeper wakes; false, and nothing changed, where none sleeps.
  bool advance_to_next();
  [[nodiscard]] std::size_t sleepers() const noexcept { return sleepers_.size(); }

 private:
  struct manual_clock final : clock_source {
    [[nodiscard]] steady now() const override { return steady(passed.load()); }
    [[nodiscard]] wall wall_now() const override { return start + passed.load(); }
    std::atomic<steady::duration> passed{steady::duration::zero()};
    // 2026-04-24T00:00:00Z
    wall start = wall(std::chrono::seconds(1776988800));
  };
  asio::any_io_executor executor_;
  manual_clock clock_;
  std::multimap<clock_source::steady, wait_list*> sleepers_;
};

}  // namespace diskdump
