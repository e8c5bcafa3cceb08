#include "bench/time_series.hpp"

#include <doctest/doctest.h>

namespace diskdump {

TEST_SUITE("time_series") {
  TEST_CASE("however long it takes, memory is bounded, times ascend, and the ends are there") {
    time_series series;
    constexpr std::uint64_t taken = 100'000;
    for (std::uint64_t i = 0; i < taken; ++i) {
      series.add(std::chrono::duration<double>(static_cast<double>(i)), {i, 2 * i});
    }
    series.finish(std::chrono::duration<double>(1e6), {taken, 2 * taken});
    auto const& samples = series.samples();
    CHECK(samples.size() <= limits::bench_samples_max);
    CHECK(samples.size() >= limits::bench_samples_max / 4);
    CHECK(samples.front().at.count() == 0);
    CHECK(samples.back().counts == std::vector<std::uint64_t>{taken, 2 * taken});
    for (std::size_t i = 1; i < samples.size(); ++i) {
      CHECK(samples[i].at > samples[i - 1].at);
      CHECK(samples[i].counts[0] > samples[i - 1].counts[0]);
      CHECK(samples[i].counts[1] == 2 * samples[i].counts[0]);
    }
  }
}

}  // namespace diskdump
