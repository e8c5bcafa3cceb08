// Dumps within limits of rates: what the agents are told, and how fast their bytes are let in.
#include <algorithm>

#include "async/async_errc.hpp"
#include "image_fleet.hpp"

namespace diskdump {

namespace {

// The least that is allowed for so many together: a block of each takes rate_block_time_max.
constexpr std::uint64_t least_total(std::uint64_t targets) {
  return targets * (block_bytes / limits::rate_block_time_max.count() + 1);
}

}  // namespace

TEST_SUITE("rates") {
  TEST_CASE("what all may read together is divided among those that read") {
    fleet_of_images fleet;
    read_share reading(12'000);
    fleet.context.reading = &reading;
    // Long enough that all of them read at some time, however late a thread gets its turn.
    for (unsigned i = 0; i < 3; ++i) fleet.dump(random_image((i + 2) * 800 * 4096, i));
    fleet.run();
    for (auto const& t : fleet.targets) {
      REQUIRE_FALSE(t->failure);
      auto const& limits = t->agent->read_limits;
      CHECK(std::find(limits.begin(), limits.end(), 4000) != limits.end());
    }
    // The one with the most to read has all of it in the end.
    auto const& last = fleet.targets.back()->agent->read_limits;
    CHECK(last.back() == 12'000);
    CHECK(std::find(last.begin(), last.end(), 6000) != last.end());
  }

  TEST_CASE("a target's own read limit stands below its share") {
    fleet_of_images fleet;
    read_share reading(12'000);
    fleet.context.reading = &reading;
    fleet.read_limit = 5000;
    auto& a = fleet.dump(random_image(400 * 4096, 1));
    auto& b = fleet.dump(random_image(800 * 4096, 2));
    auto& c = fleet.dump(random_image(1200 * 4096, 3));
    fleet.run();
    for (auto const* t : {&a, &b, &c}) {
      REQUIRE_FALSE(t->failure);
      for (auto const limit : t->agent->read_limits) CHECK(limit <= 5000);
    }
    CHECK(c.agent->read_limits.back() == 5000);
  }

  TEST_CASE("a failed target gives its share to the others") {
    fleet_of_images fleet;
    read_share reading(12'000);
    fleet.context.reading = &reading;
    auto& bad = fleet.dump(random_image(60 * 4096, 2), lie::dies_half_way);
    auto& good = fleet.dump(random_image(1000 * 4096, 3));
    fleet.run();
    CHECK(bad.failure);
    REQUIRE_FALSE(good.failure);
    CHECK(good.agent->read_limits.back() == 12'000);
  }

  TEST_CASE("a target that only the limit of all holds back is not silent") {
    fleet_of_images fleet(store_format::loose, jobs_run::on_loop);
    read_share reading(least_total(3));
    fleet.context.reading = &reading;
    for (unsigned i = 0; i < 3; ++i) {
      fleet.dump(random_image(20 * 4096, i)).agent->timers = &fleet.timers;
    }
    fleet.run_in_time();
    for (auto const& t : fleet.targets) {
      CHECK_FALSE(t->failure);
      CHECK(t->ended_at - clock_source::steady{} >= 4 * limits::silence_timeout_max);
    }
  }

  TEST_CASE("a target that is silent is told apart from those that the limit holds back") {
    fleet_of_images fleet(store_format::loose, jobs_run::on_loop);
    read_share reading(least_total(5));
    fleet.context.reading = &reading;
    auto& dead = fleet.dump(random_image(20 * 4096, 0), lie::falls_silent);
    // Now and then one of them ends, and the others are told of a larger share.
    for (unsigned i = 1; i < 5; ++i) {
      fleet.dump(random_image((1 + i * i) * 4096, i)).agent->timers = &fleet.timers;
    }
    fleet.run_in_time();
    REQUIRE(dead.failure);
    CHECK(code_of(dead.failure) == async_errc::timed_out);
    CHECK(dead.ended_at - clock_source::steady{} == limits::silence_timeout_max);
    for (std::size_t i = 1; i < fleet.targets.size(); ++i) {
      CHECK_FALSE(fleet.targets[i]->failure);
    }
    CHECK(fleet.targets[1]->ended_at < dead.ended_at);
    CHECK(fleet.targets.back()->ended_at > dead.ended_at);
  }

  TEST_CASE("without a limit nobody is held back") {
    fleet_of_images fleet;
    auto& t = fleet.dump(random_image(400 * 4096, 1));
    fleet.run();
    REQUIRE_FALSE(t.failure);
    CHECK(fleet.timers.slept.count() == 0);
  }

  TEST_CASE("a wire limit is kept per target, and for all together") {
    fleet_of_images fleet;
    rate_limiter receiving(fleet.timers, 100'000);
    // Here one target's pause is everybody's, so a limit of its own is looked at with one only.
    std::size_t targets = 1;
    SUBCASE("per target") { fleet.wire_limit = 100'000; }
    SUBCASE("together") {
      fleet.context.receiving = &receiving;
      targets = 3;
    }
    for (unsigned i = 0; i < targets; ++i) fleet.dump(random_image(400 * 4096, i));
    fleet.run();
    double bytes = 0;
    for (auto const& t : fleet.targets) {
      REQUIRE_FALSE(t->failure);
      bytes += static_cast<double>(t->progress.bytes_wire);
    }
    auto const passed =
        std::chrono::duration<double>(fleet.timers.clock().now() - clock_source::steady{});
    // The last read is not waited for.
    CHECK(passed.count() >= bytes / 100'000 * 0.9);
    CHECK(passed.count() <= bytes / 100'000 * 1.1);
  }
}

}  // namespace diskdump
