#include "cli/fleet_watch.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

#include "base/limits.hpp"
#include "test_fleet.hpp"

namespace diskdump {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t mega = 1'000'000;

// Lets time pass in the steps of a display, the target reading at a rate.
void pass(fleet_watch& watch, test_clock& clock, target_progress& p, milliseconds time,
          std::uint64_t bytes_per_second) {
  constexpr milliseconds step(200);
  for (milliseconds gone{}; gone < time; gone += step) {
    clock.time += step;
    p.announced_bytes += bytes_per_second / 5;
    p.bytes_wire += bytes_per_second / 10;
    watch.sample();
  }
}

}  // namespace

TEST_SUITE("rate meter") {
  TEST_CASE("a rate is that of the window, not since the start") {
    rate_meter meter;
    clock_source::steady now{};
    CHECK_FALSE(meter.over(limits::rate_window));
    std::uint64_t value = 0;
    for (int i = 0; i < 100; ++i) {
      meter.note(now, value);
      now += milliseconds(200);
      value += i < 50 ? 2000 : 200;  // 10000/s for 10 s, then 1000/s
    }
    REQUIRE(meter.over(limits::rate_window));
    CHECK(*meter.over(limits::rate_window) == doctest::Approx(1000));
    CHECK(*meter.over(limits::eta_window) > 4000);
  }

  TEST_CASE("it needs a while, and begins anew when the counter does") {
    rate_meter meter;
    clock_source::steady const start{};
    meter.note(start, 0);
    meter.note(start + milliseconds(100), 1000);
    CHECK_FALSE(meter.over(limits::rate_window));
    meter.note(start + milliseconds(500), 5000);
    CHECK(*meter.over(limits::rate_window) == doctest::Approx(10000));
    meter.note(start + milliseconds(1000), 10);
    CHECK_FALSE(meter.over(limits::rate_window));
  }

  TEST_CASE("a counter that stands still has a rate of zero, after a long silence, too") {
    rate_meter meter;
    clock_source::steady const start{};
    meter.note(start, 0);
    meter.note(start + seconds(1), 1000);
    meter.note(start + seconds(3600), 1000);
    meter.note(start + seconds(3601), 1000);
    CHECK(*meter.over(limits::rate_window) == doctest::Approx(0));
  }
}

TEST_SUITE("fleet watch") {
  TEST_CASE("a target's figures are of the last seconds") {
    test_clock clock;
    auto targets = test_fleet(1);
    fleet_watch watch(targets, clock);
    auto& p = targets[0].progress;
    watch.on_start(targets[0]);
    p.state = target_state::dumping;
    p.image_bytes = 1000 * mega;
    p.blocks_reused = block_count(3);
    p.blocks_stored = block_count(1);
    watch.sample();
    pass(watch, clock, p, seconds(4), 10 * mega);
    auto const picture = watch.picture();
    REQUIRE(picture.active.size() == 1);
    auto const& f = picture.active[0].figures;
    CHECK(f.bytes_done == 40 * mega);
    CHECK(*f.read_rate == doctest::Approx(1e7));
    CHECK(*f.wire_rate == doctest::Approx(5e6));
    CHECK(*f.dedup_percent == 75);
    CHECK(f.left->count() == doctest::Approx(96));
    CHECK(picture.total.left->count() == doctest::Approx(96));
    CHECK_FALSE(picture.estimated);
    CHECK(picture.elapsed.count() == doctest::Approx(4));
  }

  TEST_CASE("what another attempt need not read again counts for no rate") {
    test_clock clock;
    auto targets = test_fleet(1);
    fleet_watch watch(targets, clock);
    auto& p = targets[0].progress;
    watch.on_start(targets[0]);
    p.state = target_state::dumping;
    p.image_bytes = 1000 * mega;
    watch.sample();
    pass(watch, clock, p, seconds(2), 10 * mega);
    p.attempts = 1;
    p.state = target_state::retrying;
    watch.on_retry(targets[0], {.failure = {},
                                .attempt = 1,
                                .attempts_max = 3,
                                .pause = seconds(7),
                                .continues_at_bytes = 500 * mega});
    clock.time += seconds(2);
    watch.sample();
    auto const waiting = watch.picture().active.at(0);
    CHECK(waiting.attempt == 2);
    CHECK(waiting.attempts_max == 3);
    CHECK(waiting.retry_in->count() == doctest::Approx(5));
    CHECK_FALSE(waiting.figures.read_rate);
    p.announced_bytes = 500 * mega;
    p.attempts = 2;
    p.state = target_state::dumping;
    watch.sample();
    pass(watch, clock, p, seconds(6), 10 * mega);
    auto const picture = watch.picture();
    CHECK(*picture.active.at(0).figures.read_rate == doctest::Approx(1e7));
    CHECK(*picture.total.read_rate == doctest::Approx(1e7));
    CHECK(watch.attempts(targets[0]) == 2);
  }

  TEST_CASE("what an earlier run left counts for no rate, and was not sent") {
    test_clock clock;
    auto targets = test_fleet(1);
    fleet_watch watch(targets, clock);
    auto& p = targets[0].progress;
    watch.on_start(targets[0]);
    p.attempts = 1;
    p.state = target_state::connecting;
    watch.sample();
    p.state = target_state::dumping;
    p.image_bytes = 1000 * mega;
    p.announced_bytes = 600 * mega;
    p.blocks_resumed = block_count(9);
    p.blocks_stored = block_count(1);
    watch.sample();
    pass(watch, clock, p, seconds(2), 10 * mega);
    auto const picture = watch.picture();
    CHECK(*picture.active.at(0).figures.read_rate == doctest::Approx(1e7));
    CHECK(*picture.total.read_rate == doctest::Approx(1e7));
    CHECK(*picture.total.dedup_percent == 90);
  }

  TEST_CASE("images that are not known yet are guessed, failed ones are left out") {
    test_clock clock;
    auto targets = test_fleet(4);
    fleet_watch watch(targets, clock);
    targets[0].progress.state = target_state::done;
    targets[0].progress.image_bytes = targets[0].progress.announced_bytes = 100;
    targets[1].progress.state = target_state::dumping;
    targets[1].progress.image_bytes = 300;
    targets[1].progress.announced_bytes = 150;
    targets[2].progress.state = target_state::failed;
    targets[2].progress.image_bytes = 9999;
    auto const picture = watch.picture();
    CHECK(picture.total.bytes_done == 250);
    CHECK(picture.total.bytes_total == 600);
    CHECK(picture.estimated);
    CHECK(picture.done == 1);
    CHECK(picture.failed == 1);
    CHECK(picture.queued == 1);
    CHECK(picture.active.size() == 1);
  }

  TEST_CASE("records keep times of the day and attempts") {
    test_clock clock;
    auto targets = test_fleet(2);
    fleet_watch watch(targets, clock);
    clock.time += seconds(5);
    watch.on_start(targets[1]);
    clock.time += seconds(5);
    watch.on_end(targets[1]);
    auto const& r = watch.record(targets[1]);
    CHECK(*r.ended - *r.started == seconds(5));
    CHECK_FALSE(watch.record(0).started);
    targets[0].progress.attempts = targets[1].progress.attempts = 1;
    CHECK(watch.attempts(targets[0]) == 0);
    CHECK(watch.attempts(targets[1]) == 1);
  }

  TEST_CASE("lines keep their place while targets come and go") {
    using order = std::vector<std::size_t>;
    CHECK(next_order({}, {0, 1, 2}) == order{0, 1, 2});
    CHECK(next_order({0, 1, 2}, {0, 2, 3}) == order{0, 3, 2});
    CHECK(next_order({0, 3, 2}, {0, 2}) == order{0, 2});
    CHECK(next_order({5, 1}, {1, 2, 3, 4}) == order{2, 1, 3, 4});
    CHECK(next_order({0, 1}, {}).empty());
  }

  TEST_CASE("a label cannot reach the terminal's controls") {
    test_clock clock;
    auto targets = test_fleet(1);
    targets[0].label = "h:/\x1b[2J";
    targets[0].progress.state = target_state::connecting;
    fleet_watch watch(targets, clock);
    CHECK(watch.picture().active.at(0).label == "h:/\\x1b[2J");
  }
}

}  // namespace diskdump
