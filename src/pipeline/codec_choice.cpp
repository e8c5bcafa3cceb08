#include "pipeline/codec_choice.hpp"

#include <algorithm>

#include "base/limits.hpp"

namespace diskdump {

void codec_choice::begin_window(sample const& seen) noexcept {
  began_ = seen;
  starved_ = {};
}

codec_policy codec_choice::switch_over(sample const& seen, stage next) noexcept {
  current_ = current_ == codec_policy::lz4 ? codec_policy::zlib : codec_policy::lz4;
  stage_ = next;
  settled_at_bytes_ = seen.content_bytes + batch_bytes_;
  return current_;
}

std::optional<codec_policy> codec_choice::observe(sample const& seen) {
  if (!automatic_) return std::nullopt;
  if (!began_) begin_window(seen);
  if (stage_ == stage::settling || stage_ == stage::returning) {
    if (seen.content_bytes < settled_at_bytes_) return std::nullopt;
    stage_ = stage_ == stage::settling ? stage::trial : stage::kept;
    begin_window(seen);
    return std::nullopt;
  }
  starved_ += seen.starved;
  std::chrono::duration<double> const time = seen.now - began_->now;
  auto const content_bytes = seen.content_bytes - began_->content_bytes;
  if (time < limits::codec_window) return std::nullopt;
  bool const waited = starved_ * 100 >= (seen.now - began_->now) * limits::codec_starved_percent;
  if (content_bytes < limits::codec_window_bytes) {
    // A slow link gets the time that it needs to show a rate, unless nothing is asked of it.
    if (!waited) begin_window(seen);
    return std::nullopt;
  }
  auto const bytes_per_s = static_cast<double>(content_bytes) / time.count();
  auto const wire_bytes_per_s =
      static_cast<double>(seen.wire_bytes - began_->wire_bytes) / time.count();
  bool const link_bound =
      waited && wire_bytes_per_s <= static_cast<double>(limits::codec_link_bytes_per_s_max);
  begin_window(seen);
  // Away from the link as the bottleneck there is nothing that zlib could win.
  bool const may_try = current_ == codec_policy::zlib || link_bound;
  if (stage_ == stage::kept && !may_try) return std::nullopt;
  return judge(seen, bytes_per_s);
}

std::optional<codec_policy> codec_choice::judge(sample const& seen, double bytes_per_s) {
  if (stage_ == stage::kept) {
    if (next_trial_ && seen.now < *next_trial_) return std::nullopt;
    before_bytes_per_s_ = bytes_per_s;
    return switch_over(seen, stage::settling);
  }
  auto const wanted = before_bytes_per_s_ * (100 + limits::codec_gain_percent_min) / 100;
  bool const won = bytes_per_s >= wanted;
  trials_in_vain_ = won ? 0 : std::min(trials_in_vain_ + 1, limits::codec_trial_doublings_max);
  next_trial_ = seen.now + limits::codec_trial_pause * (1U << trials_in_vain_);
  if (!won) return switch_over(seen, stage::returning);
  stage_ = stage::kept;
  return std::nullopt;
}

}  // namespace diskdump
