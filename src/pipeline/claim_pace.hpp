// Whether a claimant sends what it was asked for at a rate that those who wait for it can live
// with. Silence alone does not tell: a byte now and then, or anything but the blocks that are owed,
// is no silence, and everybody who has the same blocks would wait.
//
// Measured in blocks that came whole, over times in which the target could have sent them: while it
// was listened to, and while what else it sent kept us from listening. What holds us up, or a limit
// that the user set, is not held against it. A target that owes much and is slow by nature, behind
// a thin line, is judged the same: whoever waits for its blocks and owes less than he can send
// sends them sooner, at the price of their crossing a wire twice.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/limits.hpp"

namespace diskdump {

// The time that a target had to send what it owes, in all. Plain data and arithmetic; used on the
// event loop's thread.
class sending_time {
 public:
  using duration = std::chrono::steady_clock::duration;

  // Bytes of it were waited for.
  void listened(duration time) noexcept { total_ += time; }
  // They were taken apart, which nobody else holds up.
  void decoded(duration time) noexcept { total_ += time; }
  // A limit of the user let `bytes` in, of which so many were no block. They have their part of it.
  void paced(duration time, std::uint64_t other_bytes, std::uint64_t bytes) noexcept {
    using nanoseconds = std::chrono::duration<double, std::nano>;
    if (bytes == 0) return;
    auto const part =
        static_cast<double>(std::min(other_bytes, bytes)) / static_cast<double>(bytes);
    total_ += std::chrono::duration_cast<duration>(nanoseconds(time) * part);
  }
  // It announced blocks, and this had to wait for what was announced before. All of that was the
  // target's choice, but that it took longer than such things take is ours.
  void announced(duration waited, std::uint64_t runs, std::uint64_t blocks) noexcept {
    duration const takes = static_cast<std::int64_t>(runs) * limits::claim_pace_run_time +
                           static_cast<std::int64_t>(blocks) * limits::claim_pace_line_time;
    kept_ = std::min<duration>(kept_ + takes, limits::claim_pace_kept_max);
    auto const counted = std::min(waited, kept_);
    kept_ -= counted;
    total_ += counted;
  }

  [[nodiscard]] duration total() const noexcept { return total_; }

 private:
  duration total_{};
  duration kept_{};  // what its announcements take, as far as it was not waited for
};

// Plain data and arithmetic; used on the event loop's thread.
class claim_pace {
 public:
  using duration = std::chrono::steady_clock::duration;

  // Tells how things stand. `had`: its sending_time, in all; `came`: its blocks that came, in all;
  // `owed`: the blocks that it was asked for and has not sent. To be called now and then; a
  // judgement takes two calls, `claim_pace_window` apart.
  void look(duration had, std::uint64_t came, std::uint64_t owed) noexcept {
    using seconds = std::chrono::duration<double>;
    auto const sent = came - came_;
    // What it owed when the window began is there: that is all that could be asked of it.
    bool const begins = owed == 0 || sent >= owed_;
    auto const window = had - had_;
    auto const due = static_cast<double>(owed_) * seconds(window).count() /
                     seconds(limits::claim_hold_max).count();
    // Less than a block is nothing to be judged by.
    if (!begins && (window < limits::claim_pace_window || due < 1)) return;
    too_slow_ = !begins && static_cast<double>(sent) < due;
    had_ = had;
    came_ = came;
    owed_ = owed;
  }

  // Whether, going on as in the last window, it would take longer than `claim_hold_max` to send
  // what it owed then.
  [[nodiscard]] bool too_slow() const noexcept { return too_slow_; }

 private:
  duration had_{};
  std::uint64_t came_ = 0;
  std::uint64_t owed_ = 0;
  bool too_slow_ = false;
};

}  // namespace diskdump
