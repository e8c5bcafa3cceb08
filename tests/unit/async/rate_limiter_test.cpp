#include "async/rate_limiter.hpp"

#include <doctest/doctest.h>

#include "async/spawned.hpp"
#include "base/limits.hpp"

namespace diskdump {

namespace {

using namespace std::chrono_literals;

task<> take_all(rate_limiter& limiter, std::uint64_t bytes, int times, int& taken) {
  for (int i = 0; i < times; ++i) {
    co_await limiter.take(bytes);
    ++taken;
  }
}

struct limiter_fixture {
  explicit limiter_fixture(std::uint64_t rate) : limiter(timers, rate) {}
  asio::io_context loop;
  manual_timer_source timers{loop.get_executor()};
  rate_limiter limiter;
  int taken = 0;

  std::unique_ptr<spawned> taker(std::uint64_t bytes, int times) {
    return start(loop, take_all(limiter, bytes, times, taken));
  }
  // In steps, as time passes.
  void pass(std::chrono::milliseconds duration) {
    for (auto left = duration; left > 0ms; left -= std::min(left, 10ms)) {
      timers.advance(std::min(left, 10ms));
      settle(loop);
    }
  }
};

}  // namespace

TEST_SUITE("rate_limiter") {
  TEST_CASE("without a limit nobody waits") {
    limiter_fixture f(0);
    auto const all = f.taker(1'000'000'000, 1000);
    CHECK(all->ended);
    CHECK(f.limiter.piece_bytes_max() == ~std::uint64_t{0});
  }

  TEST_CASE("what was taken before is waited for, the first is free") {
    limiter_fixture f(1000);
    auto const all = f.taker(500, 3);
    CHECK(f.taken == 1);
    f.pass(490ms);
    CHECK(f.taken == 1);
    f.pass(20ms);
    CHECK(f.taken == 2);
    f.pass(480ms);
    CHECK(f.taken == 2);
    f.pass(20ms);
    CHECK(f.taken == 3);
  }

  TEST_CASE("over a long time the rate is kept") {
    limiter_fixture f(1'000'000);
    auto const all = f.taker(65536, 1'000'000);
    f.pass(100s);
    auto const bytes = f.taken * 65536.0;
    CHECK(bytes > 100e6 * 0.999);
    CHECK(bytes < 100e6 * 1.002);
    all->cancel();
    settle(f.loop);
  }

  TEST_CASE("allowance does not pile up over a pause") {
    limiter_fixture f(1000);
    f.pass(1h);
    auto const all = f.taker(50, 1000);
    // 100 ms earn 100 bytes: what came up to that is free, and one more.
    CHECK(f.taken == 3);
    all->cancel();
    settle(f.loop);
  }

  TEST_CASE("several share one rate, in the order in which they came") {
    limiter_fixture f(1000);
    int other = 0;
    auto const one = f.taker(100, 1000);
    auto const two = start(f.loop, take_all(f.limiter, 100, 1000, other));
    f.pass(10s);
    CHECK(f.taken + other >= 99);
    CHECK(f.taken + other <= 102);
    CHECK(std::abs(f.taken - other) <= 1);
    one->cancel();
    two->cancel();
    settle(f.loop);
  }

  TEST_CASE("who waits follows a change of the rate") {
    limiter_fixture f(1);
    auto const all = f.taker(10'000, 100);
    f.pass(5s);
    CHECK(f.taken == 1);
    SUBCASE("faster") {
      f.limiter.set_rate(10'000);
      f.pass(1600ms);
      CHECK(f.taken == 2);
    }
    SUBCASE("lifted") {
      f.limiter.set_rate(0);
      f.pass(limits::rate_look_interval);
      CHECK(f.taken == 100);
    }
    SUBCASE("slower: nothing that was earned is taken back, and nothing is given") {
      f.limiter.set_rate(10'000);
      f.pass(1600ms);
      f.limiter.set_rate(1000);
      f.pass(3s);
      CHECK(f.taken == 2);
      f.pass(7s);
      CHECK(f.taken == 3);
    }
    all->cancel();
    settle(f.loop);
  }

  TEST_CASE("a limit that is set again begins without debts") {
    limiter_fixture f(1);
    auto first = f.taker(1'000'000, 1);
    f.limiter.set_rate(0);
    f.limiter.set_rate(1000);
    auto const all = f.taker(500, 2);
    CHECK(f.taken == 2);
    f.pass(510ms);
    CHECK(f.taken == 3);
  }

  TEST_CASE("cancelled while it waits, it throws, and what it took stays charged") {
    limiter_fixture f(1000);
    auto const first = f.taker(500, 1);
    auto const second = f.taker(500, 1);
    second->cancel();
    settle(f.loop);
    CHECK(second->aborted());
    auto const third = f.taker(500, 1);
    f.pass(990ms);
    CHECK(f.taken == 1);
    f.pass(20ms);
    CHECK(f.taken == 2);
  }
}

}  // namespace diskdump
