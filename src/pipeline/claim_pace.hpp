// Whether a claimant sends what it was asked for at a rate that those who wait for it can live
// with. Silence alone does not tell: a byte now and then, or anything but the blocks that are owed,
// is no silence, and everybody who has the same blocks would wait.
//
// Measured in blocks that came whole, over times for which the target was listened to: what holds
// us up, or a limit that the user set, is not held against it. A target that owes much and is slow
// by nature, behind a thin line, is judged the same: whoever waits for its blocks and owes less
// than he can send sends them sooner, at the price of their crossing a wire twice.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/limits.hpp"

namespace diskdump {

// Plain data and arithmetic; used on the event loop's thread.
class claim_pace {
 public:
  using duration = std::chrono::steady_clock::duration;

  // Tells how things stand. `listened`: the time for which bytes of the target were waited for, in
  // all; `came`: its blocks that came, in all; `owed`: the blocks that it was asked for and has not
  // sent. To be called now and then; a judgement takes two calls, `claim_pace_window` apart.
  void look(duration listened, std::uint64_t came, std::uint64_t owed) noexcept {
    using seconds = std::chrono::duration<double>;
    auto const sent = came - came_;
    // What it owed when the window began is there: that is all that could be asked of it.
    bool const begins = owed == 0 || sent >= owed_;
    auto const window = listened - listened_;
    auto const due = static_cast<double>(owed_) * seconds(window).count() /
                     seconds(limits::claim_hold_max).count();
    // Less than a block is nothing to be judged by.
    if (!begins && (window < limits::claim_pace_window || due < 1)) return;
    too_slow_ = !begins && static_cast<double>(sent) < due;
    listened_ = listened;
    came_ = came;
    owed_ = owed;
  }

  // Whether, going on as in the last window, it would take longer than `claim_hold_max` to send
  // what it owed then.
  [[nodiscard]] bool too_slow() const noexcept { return too_slow_; }

 private:
  duration listened_{};
  std::uint64_t came_ = 0;
  std::uint64_t owed_ = 0;
  bool too_slow_ = false;
};

}  // namespace diskdump
