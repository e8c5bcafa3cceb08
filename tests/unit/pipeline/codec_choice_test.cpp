#include "pipeline/codec_choice.hpp"

#include <doctest/doctest.h>

#include "base/limits.hpp"

namespace diskdump {

namespace {

using namespace std::chrono_literals;

// A target that sends as fast as its link and its processor let it, in steps of 10 ms.
struct linked_target {
  double link_bytes_per_s = 0;
  double lz4_ratio = 0.55, zlib_ratio = 0.4;                // of the content
  double lz4_bytes_per_s = 600e6, zlib_bytes_per_s = 90e6;  // of content, by its processor
  bool needed = true;                                       // we ask for blocks

  codec_choice choice{codec_policy::lz4, true, 10 * limits::MiB};
  codec_choice::sample seen{};
  unsigned switches = 0;
  double content_bytes = 0, wire_bytes = 0;

  void run(std::chrono::seconds time) {
    constexpr auto step = 10ms;
    for (auto left = std::chrono::milliseconds(time); left > 0ms; left -= step) {
      auto const zlib = choice.current() == codec_policy::zlib;
      auto const by_link = link_bytes_per_s / (zlib ? zlib_ratio : lz4_ratio);
      auto const by_core = zlib ? zlib_bytes_per_s : lz4_bytes_per_s;
      auto const content = needed ? std::min(by_link, by_core) * 0.01 : 0;
      content_bytes += content;
      wire_bytes += content * (zlib ? zlib_ratio : lz4_ratio);
      seen.now += step;
      seen.starved = needed ? step : 0ms;
      seen.content_bytes = static_cast<std::uint64_t>(content_bytes);
      seen.wire_bytes = static_cast<std::uint64_t>(wire_bytes);
      if (choice.observe(seen)) ++switches;
    }
  }
};

}  // namespace

TEST_SUITE("codec_choice") {
  TEST_CASE("a slow link gets zlib, and keeps it but for a look now and then") {
    for (auto const rate : {200e3, 2e6, 20e6}) {
      CAPTURE(rate);
      linked_target target{.link_bytes_per_s = rate};
      target.run(10min);
      CHECK(target.choice.current() == codec_policy::zlib);
      auto const with_lz4 = rate / target.lz4_ratio * 600;
      CHECK(target.content_bytes > with_lz4 * 1.25);
    }
  }

  TEST_CASE("where the link is fast enough nothing is tried") {
    linked_target target{.link_bytes_per_s = 300e6};
    target.run(10min);
    CHECK(target.switches == 0);
    // Nor where the target has nothing to send.
    linked_target idle{.link_bytes_per_s = 1e6, .needed = false};
    idle.run(10min);
    CHECK(idle.switches == 0);
  }

  TEST_CASE("where zlib takes longer than it saves, lz4 comes back, and trials become rare") {
    // One core behind a link of a gigabit; then data that no codec makes smaller.
    for (auto const& slow :
         {linked_target{.link_bytes_per_s = 118e6},
          linked_target{.link_bytes_per_s = 5e6, .lz4_ratio = 1, .zlib_ratio = 1}}) {
      auto target = slow;
      target.run(1min);
      CHECK(target.switches >= 2);
      target.run(59min);
      CHECK(target.choice.current() == codec_policy::lz4);
      CHECK(target.switches <= 2 * 12);
      auto const with_lz4 = target.link_bytes_per_s / target.lz4_ratio * 3600;
      CHECK(target.content_bytes > with_lz4 * 0.98);
    }
  }

  TEST_CASE("a link that becomes fast gets lz4 again, and one that becomes slow zlib") {
    linked_target target{.link_bytes_per_s = 2e6};
    target.run(2min);
    CHECK(target.choice.current() == codec_policy::zlib);
    target.link_bytes_per_s = 300e6;
    target.run(2min);
    CHECK(target.choice.current() == codec_policy::lz4);
    target.link_bytes_per_s = 2e6;
    target.run(10min);
    CHECK(target.choice.current() == codec_policy::zlib);
  }

  TEST_CASE("what the user chose stays") {
    for (auto const policy : {codec_policy::lz4, codec_policy::zlib, codec_policy::none}) {
      linked_target target{.link_bytes_per_s = 1e6};
      target.choice = codec_choice(policy, false, 1);
      target.run(5min);
      CHECK(target.switches == 0);
    }
  }
}

}  // namespace diskdump
