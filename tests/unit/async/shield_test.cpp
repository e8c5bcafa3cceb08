#include "async/shield.hpp"

#include <doctest/doctest.h>

#include "async/async_errc.hpp"
#include "async/spawned.hpp"
#include "async/timer.hpp"

namespace diskdump {

namespace {

using namespace std::chrono_literals;

struct steps {
  bool begun = false;
  bool ended = false;
  bool after = false;
  int result = 0;
};

task<int> work(timer_source& timers, steps& seen) {
  seen.begun = true;
  co_await timers.sleep(10s);
  seen.ended = true;
  co_return 42;
}
task<int> fail(timer_source& timers) {
  co_await timers.sleep(10s);
  throw error(async_errc::timed_out, severity::permanent);
}
task<> caller(timer_source& timers, steps& seen) {
  seen.result = co_await shielded(work(timers, seen));
  co_await timers.sleep(1s);
  seen.after = true;
}
task<> late_caller(timer_source& timers, steps& seen) {
  try {
    co_await timers.sleep(1s);
  } catch (std::system_error const&) {
  }
  seen.result = co_await shielded(work(timers, seen));
}
task<> failing_caller(timer_source& timers) { static_cast<void>(co_await shielded(fail(timers))); }

// Ends in peace what it has begun.
task<int> work_to_the_end(timer_source& timers, steps& seen) {
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_return co_await work(timers, seen);
}
task<> caller_of_own(timer_source& timers, steps& seen, task<int> callee) {
  seen.result = co_await with_own_cancellation(std::move(callee));
  co_await timers.sleep(1s);
  seen.after = true;
}

struct shield_fixture {
  asio::io_context loop;
  manual_timer_source timers{loop.get_executor()};
  steps seen;
  void pass(std::chrono::seconds duration) {
    timers.advance(duration);
    settle(loop);
  }
};

}  // namespace

TEST_SUITE("shielded") {
  TEST_CASE("without a cancellation it is the work") {
    shield_fixture f;
    auto const child = start(f.loop, caller(f.timers, f.seen));
    f.pass(10s);
    CHECK(f.seen.result == 42);
    f.pass(1s);
    CHECK(f.seen.after);
    CHECK(child->ended);
    CHECK_FALSE(child->failure);
  }

  TEST_CASE("a cancellation waits for the work, and shows at the next wait") {
    shield_fixture f;
    auto const child = start(f.loop, caller(f.timers, f.seen));
    child->cancel();
    settle(f.loop);
    CHECK_FALSE(child->ended);
    CHECK_FALSE(f.seen.ended);
    f.pass(10s);
    CHECK(f.seen.ended);
    CHECK(f.seen.result == 42);
    CHECK(child->ended);
    CHECK(child->aborted());
    CHECK_FALSE(f.seen.after);
  }

  TEST_CASE("a caller that was cancelled before does not begin") {
    shield_fixture f;
    auto const child = start(f.loop, late_caller(f.timers, f.seen));
    child->cancel();
    settle(f.loop);
    CHECK(child->ended);
    CHECK(child->aborted());
    CHECK_FALSE(f.seen.begun);
  }

  TEST_CASE("a failure of the work is the caller's, cancelled or not") {
    shield_fixture f;
    auto const child = start(f.loop, failing_caller(f.timers));
    child->cancel();
    f.pass(10s);
    CHECK(child->failed_with(async_errc::timed_out));
  }
}

TEST_SUITE("with_own_cancellation") {
  TEST_CASE("without a cancellation it is the work") {
    shield_fixture f;
    auto const child = start(f.loop, caller_of_own(f.timers, f.seen, work(f.timers, f.seen)));
    f.pass(10s);
    f.pass(1s);
    CHECK(f.seen.result == 42);
    CHECK(f.seen.after);
    CHECK_FALSE(child->failure);
  }

  TEST_CASE("a cancellation reaches the work") {
    shield_fixture f;
    auto const child = start(f.loop, caller_of_own(f.timers, f.seen, work(f.timers, f.seen)));
    child->cancel();
    settle(f.loop);
    CHECK(child->aborted());
    CHECK_FALSE(f.seen.ended);
  }

  TEST_CASE("work that turns cancellation off goes on, and its caller is cancelled all the same") {
    shield_fixture f;
    auto const child =
        start(f.loop, caller_of_own(f.timers, f.seen, work_to_the_end(f.timers, f.seen)));
    SUBCASE("by one that came meanwhile") {
      child->cancel();
      settle(f.loop);
      CHECK_FALSE(child->ended);
      f.pass(10s);
    }
    SUBCASE("by one that comes afterwards") {
      f.pass(10s);
      child->cancel();
      settle(f.loop);
    }
    CHECK(f.seen.result == 42);
    CHECK(child->aborted());
    CHECK_FALSE(f.seen.after);
  }
}

}  // namespace diskdump
