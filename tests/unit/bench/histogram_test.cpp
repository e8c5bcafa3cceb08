#include "bench/histogram.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <thread>

namespace diskdump {

namespace {

using std::chrono::nanoseconds;

// As quantile() defines it, of all values.
std::int64_t exact_quantile(std::vector<std::int64_t> const& sorted, double share) {
  auto const rank = static_cast<std::size_t>(
      std::max(1.0, std::ceil(share * static_cast<double>(sorted.size()))));
  return sorted[rank - 1];
}

void check_against_exact(std::vector<std::int64_t> values) {
  latency_histogram h;
  for (auto const v : values) h.add(nanoseconds(v));
  std::sort(values.begin(), values.end());
  REQUIRE(h.count() == values.size());
  CHECK(h.max() == nanoseconds(values.back()));
  for (double const share : {0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    auto const exact = static_cast<double>(exact_quantile(values, share));
    auto const found = static_cast<double>(h.quantile(share).count());
    CAPTURE(share);
    CAPTURE(exact);
    CAPTURE(found);
    CHECK(std::abs(found - exact) <= exact * latency_histogram::error_max);
  }
}

}  // namespace

TEST_SUITE("histogram") {
  TEST_CASE("quantiles are within the promised error of the exact ones") {
    std::mt19937_64 random(1);
    std::vector<std::int64_t> values(20'000);
    SUBCASE("from nanoseconds to minutes, each power of two as likely") {
      std::uniform_real_distribution<> power(0, 41);
      for (auto& v : values) v = static_cast<std::int64_t>(std::exp2(power(random)));
    }
    SUBCASE("as calls take: most of them alike, a few a thousand times as long") {
      std::lognormal_distribution<> usual(std::log(20'000), 0.3);
      for (auto& v : values) {
        v = static_cast<std::int64_t>(usual(random) * (random() % 500 == 0 ? 1000 : 1));
      }
    }
    SUBCASE("all the same") { std::fill(values.begin(), values.end(), 123'456'789); }
    SUBCASE("small ones, which are exact") {
      for (auto& v : values) v = static_cast<std::int64_t>(random() % 64);
    }
    SUBCASE("one alone") { values = {999'999}; }
    check_against_exact(values);
  }

  TEST_CASE("nothing recorded, nothing told") {
    latency_histogram h;
    CHECK(h.quantile(0.5) == nanoseconds(0));
    CHECK(h.max() == nanoseconds(0));
    CHECK(h.distribution().empty());
    h.add(nanoseconds(5));
    h.reset();
    CHECK(h.count() == 0);
    CHECK(h.distribution().empty());
  }

  TEST_CASE("what is longer than the histogram counts, and keeps its length as the maximum") {
    latency_histogram h;
    auto const day = std::chrono::hours(24);
    h.add(day);
    h.add(nanoseconds(-1));
    CHECK(h.count() == 2);
    CHECK(h.max() == day);
    CHECK(h.quantile(0.5) == nanoseconds(0));
    CHECK(h.quantile(1) > std::chrono::hours(1));
    CHECK(h.total() == day);
  }

  TEST_CASE("the distribution goes up to all of them, and is that of the quantiles") {
    latency_histogram h;
    for (std::int64_t i = 1; i <= 1000; ++i) h.add(nanoseconds(i * 1000));
    auto const steps = h.distribution();
    REQUIRE(steps.size() > 10);
    CHECK(steps.back().share == doctest::Approx(1));
    for (std::size_t i = 1; i < steps.size(); ++i) {
      CHECK(steps[i].latency > steps[i - 1].latency);
      CHECK(steps[i].share > steps[i - 1].share);
      CHECK(h.quantile(steps[i].share) == steps[i].latency);
    }
  }

  TEST_CASE("threads that add at the same time lose nothing") {
    latency_histogram h;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&h, t] {
        for (int i = 0; i < 10'000; ++i) h.add(nanoseconds(i + t));
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(h.count() == 40'000);
    CHECK(h.max() == nanoseconds(10'002));
    CHECK(h.distribution().back().share == doctest::Approx(1));
  }
}

}  // namespace diskdump
