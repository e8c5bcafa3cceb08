#include "bench/phase_meter.hpp"

#include <doctest/doctest.h>

#include <semaphore>

#include "async/offload.hpp"
#include "async/spawned.hpp"
#include "base/limits.hpp"

namespace diskdump {

namespace {

using std::chrono::milliseconds;

phase_view counting(std::uint64_t& counter) {
  phase_view view;
  view.counters = {"counted"};
  view.read = [&counter] { return std::vector<std::uint64_t>{counter}; };
  return view;
}

task<> until_told(worker_pool& pool, std::binary_semaphore& stop, bool& told) {
  told = co_await offload(pool, [&stop] { return stop.try_acquire_for(std::chrono::seconds(10)); });
}

task<> failing(timer_source& timers) {
  co_await timers.sleep(milliseconds(50));
  throw std::runtime_error("no");
}

}  // namespace

TEST_SUITE("phase_meter") {
  TEST_CASE("time, counters and activities are those of the work") {
    asio::io_context loop{1};
    manual_timer_source timers(loop.get_executor());
    std::uint64_t counter = 0;
    auto view = counting(counter);
    view.activity = [&counter] { return std::string(counter < 500 ? "slow" : ""); };
    phase_meter meter(timers, std::move(view));
    auto const child = start(loop, meter.run(timers.sleep(milliseconds(1000))));
    while (!child->ended) {
      timers.advance(milliseconds(10));
      counter += 10;
      settle(loop);
    }
    CHECK_FALSE(child->failure);
    phase_report report;
    meter.report(report);
    CHECK(report.time == milliseconds(1000));
    CHECK(report.counters == std::vector<std::string>{"counted"});
    auto const& samples = report.series.samples();
    CHECK(samples.size() >= 1000 / limits::bench_sample_interval.count());
    CHECK(samples.front().counts.front() == 0);
    CHECK(samples.back().counts.front() >= 990);
    CHECK(samples.back().at == report.time);
    REQUIRE(meter.activities().size() == 1);
    auto const slow = meter.activities().at("slow");
    CHECK(slow >= milliseconds(450));
    CHECK(slow <= milliseconds(550));
    CHECK(report.memory_server_bytes >= report.memory_before_bytes);
    CHECK(report.memory_before_bytes > 0);
  }

  TEST_CASE("what fails is thrown, and the samples end") {
    asio::io_context loop{1};
    manual_timer_source timers(loop.get_executor());
    std::uint64_t counter = 0;
    phase_meter meter(timers, counting(counter));
    auto const child = start(loop, meter.run(failing(timers)));
    while (timers.advance_to_next()) settle(loop);
    CHECK(child->ended);
    CHECK(child->failure);
    CHECK_FALSE(child->aborted());
    CHECK(timers.sleepers() == 0);
  }

  TEST_CASE("work on a thread is told to stop when it is cancelled, and waited for") {
    asio::io_context loop{1};
    manual_timer_source timers(loop.get_executor());
    worker_pool pool(1);
    std::binary_semaphore stop(0);
    bool told = false;
    std::uint64_t counter = 0;
    auto view = counting(counter);
    view.stop = [&stop] { stop.release(); };
    phase_meter meter(timers, std::move(view));
    auto const child = start(loop, meter.run(until_told(pool, stop, told)));
    CHECK_FALSE(child->ended);
    child->cancel();
    loop.restart();
    loop.run();
    CHECK(child->ended);
    CHECK(told);
  }
}

}  // namespace diskdump
