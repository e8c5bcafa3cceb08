// Which codec a target compresses with, where the user leaves it to us (--wire auto): lz4, which
// costs its processor little, or zlib, which makes a quarter less of the same block (programs:
// bench/README.md). zlib pays only
// where the link is what everybody waits for, and whether it does depends on the target's cores, on
// ours, and on the data: so it is tried, and kept while more content arrives with it than before.
// No I/O and no clock of its own; one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.hpp"
#include "wire/messages.hpp"

namespace diskdump {

class codec_choice {
 public:
  struct sample {
    clock_source::steady now;
    // Since the last sample: how long we waited for bytes of blocks that we had asked for.
    std::chrono::nanoseconds starved{};
    // In all, so far.
    std::uint64_t wire_bytes = 0;
    std::uint64_t content_bytes = 0;  // of the blocks that came
  };

  // `batch_bytes`: as much may be on its way with the codec of before. Without `automatic` it stays
  // at `first`.
  codec_choice(codec_policy first, bool automatic, std::uint64_t batch_bytes) noexcept
      : current_(first),
        automatic_(automatic && first != codec_policy::none),
        batch_bytes_(batch_bytes) {}

  // To be called as often as bytes come. What the target is to be told from now on, where that
  // changes.
  [[nodiscard]] std::optional<codec_policy> observe(sample const& seen);

  [[nodiscard]] codec_policy current() const noexcept { return current_; }

 private:
  enum class stage : std::uint8_t {
    kept,      // what is used is what was best
    settling,  // told to change, but what comes is of before
    trial,     // the other one is being measured
    returning  // told to change back
  };

  void begin_window(sample const& seen) noexcept;
  [[nodiscard]] codec_policy switch_over(sample const& seen, stage next) noexcept;
  [[nodiscard]] std::optional<codec_policy> judge(sample const& seen, double bytes_per_s);

  codec_policy current_;
  bool automatic_;
  std::uint64_t batch_bytes_;
  stage stage_ = stage::kept;
  std::optional<sample> began_;  // the window
  std::chrono::nanoseconds starved_{};
  std::uint64_t settled_at_bytes_ = 0;
  double before_bytes_per_s_ = 0;  // of content, with the codec that is not on trial
  unsigned trials_in_vain_ = 0;
  std::optional<clock_source::steady> next_trial_;
};

}  // namespace diskdump
