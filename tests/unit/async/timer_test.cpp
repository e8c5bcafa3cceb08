// The manual clock, retry and with_timeout.
#include "async/timer.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "async/async_errc.hpp"
#include "async/channel.hpp"
#include "async/retry.hpp"
#include "async/run_task.hpp"
#include "async/spawned.hpp"
#include "async/timeout.hpp"

namespace diskdump {

namespace {

using namespace std::chrono_literals;

struct timer_fixture {
  asio::io_context loop;
  manual_timer_source timers{loop.get_executor()};
  void pass(std::chrono::milliseconds duration) {
    timers.advance(duration);
    settle(loop);
  }
};

task<> note_after(timer_source& timers, std::chrono::seconds duration, std::vector<int>& order,
                  int who) {
  co_await timers.sleep(duration);
  order.push_back(who);
}

struct attempts {
  int made = 0;
  int failures = 0;  // so many attempts fail before one succeeds
  severity kind = severity::transient;
};
task<int> attempt(attempts& a) {
  if (++a.made <= a.failures) throw error(async_errc::timed_out, a.kind);
  co_return a.made;
}
task<> retrying(timer_fixture& f, attempts& a, retry_policy policy, int& result) {
  result = co_await retry(f.timers, policy, [] { return 0.0; }, [&a] { return attempt(a); });
}

task<int> slow(timer_source& timers, std::chrono::seconds duration, bool& cancelled) {
  try {
    co_await timers.sleep(duration);
  } catch (...) {
    cancelled = true;
    throw;
  }
  co_return 42;
}
task<> limited(timer_fixture& f, std::chrono::seconds limit, std::chrono::seconds duration,
               int& result, bool& cancelled) {
  result = co_await with_timeout(f.timers, limit, slow(f.timers, duration, cancelled));
}
task<> fail_now() {
  throw error(async_errc::channel_broken, severity::permanent);
  co_return;
}
task<> limited_failure(timer_fixture& f) { co_await with_timeout(f.timers, 1s, fail_now()); }
task<std::optional<int>> receive_from(receiver<int>& in) { co_return co_await in.receive(); }
task<> receive_limited(timer_fixture& f, receiver<int>& in, std::optional<int>& got) {
  got = co_await with_timeout(f.timers, 1s, receive_from(in));
}

}  // namespace

TEST_SUITE("timer") {
  TEST_CASE("sleepers wake in order of their time, and only when it has come") {
    timer_fixture f;
    std::vector<int> order;
    auto const a = start(f.loop, note_after(f.timers, 3s, order, 3));
    auto const b = start(f.loop, note_after(f.timers, 1s, order, 1));
    auto const c = start(f.loop, note_after(f.timers, 2s, order, 2));
    auto const d = start(f.loop, note_after(f.timers, 0s, order, 0));
    CHECK(order == std::vector<int>{0});
    f.pass(999ms);
    CHECK(order.size() == 1);
    f.pass(1ms);
    CHECK(order == std::vector<int>{0, 1});
    f.pass(1h);
    CHECK(order == std::vector<int>{0, 1, 2, 3});
    CHECK(f.timers.sleepers() == 0);
  }

  TEST_CASE("the clock moves to the next sleeper, and no further") {
    timer_fixture f;
    std::vector<int> order;
    auto const began = f.timers.clock().now();
    CHECK_FALSE(f.timers.advance_to_next());
    auto const a = start(f.loop, note_after(f.timers, 3s, order, 3));
    auto const b = start(f.loop, note_after(f.timers, 1s, order, 1));
    CHECK(f.timers.advance_to_next());
    settle(f.loop);
    CHECK(order == std::vector<int>{1});
    CHECK(f.timers.clock().now() - began == 1s);
    CHECK(f.timers.advance_to_next());
    settle(f.loop);
    CHECK(order == std::vector<int>{1, 3});
    CHECK(f.timers.clock().now() - began == 3s);
    CHECK_FALSE(f.timers.advance_to_next());
  }

  TEST_CASE("a sleeper can be cancelled") {
    timer_fixture f;
    std::vector<int> order;
    auto const a = start(f.loop, note_after(f.timers, 3s, order, 3));
    a->cancel();
    settle(f.loop);
    CHECK(a->aborted());
    CHECK(f.timers.sleepers() == 0);
  }

  TEST_CASE("the real timer sleeps and can be cancelled") {
    asio::io_context loop;
    asio_timer_source timers;
    std::vector<int> order;
    auto const a = start(loop, note_after(timers, 3600s, order, 3));
    a->cancel();
    settle(loop);
    CHECK(a->aborted());
    run_task(loop, note_after(timers, 0s, order, 1));
    CHECK(order == std::vector<int>{1});
  }
}

TEST_SUITE("retry") {
  TEST_CASE("delays grow by the factor up to the bound, and chance only shortens them") {
    retry_policy const p{
        .attempts_max = 9, .delay_first = 100ms, .delay_max = 1000ms, .factor = 2.0, .jitter = 0.5};
    CHECK(retry_delay(p, 1, 0) == 100ms);
    CHECK(retry_delay(p, 2, 0) == 200ms);
    CHECK(retry_delay(p, 4, 0) == 800ms);
    CHECK(retry_delay(p, 5, 0) == 1000ms);
    CHECK(retry_delay(p, 4000, 0) == 1000ms);
    CHECK(retry_delay(p, 1, 0.5) == 75ms);
    CHECK(retry_delay(p, 1, 1) == 50ms);
  }

  TEST_CASE("transient failures are tried again after a pause until one succeeds") {
    timer_fixture f;
    attempts a{.failures = 2};
    int result = 0;
    auto const child = start(f.loop, retrying(f, a, {.delay_first = 1000ms}, result));
    CHECK(a.made == 1);
    f.pass(999ms);
    CHECK(a.made == 1);
    f.pass(1ms);
    CHECK(a.made == 2);
    f.pass(2000ms);
    CHECK(child->ended);
    CHECK(result == 3);
  }

  TEST_CASE("after the last attempt its failure is thrown") {
    timer_fixture f;
    attempts a{.failures = 100};
    int result = 0;
    auto const child =
        start(f.loop, retrying(f, a, {.attempts_max = 3, .delay_first = 1000ms}, result));
    for (int i = 0; i < 10; ++i) f.pass(10s);
    CHECK(child->failed_with(async_errc::timed_out));
    CHECK(a.made == 3);
  }

  TEST_CASE("permanent failures are not tried again") {
    timer_fixture f;
    attempts a{.failures = 1, .kind = severity::permanent};
    int result = 0;
    auto const child = start(f.loop, retrying(f, a, {}, result));
    CHECK(child->failed_with(async_errc::timed_out));
    CHECK(a.made == 1);
  }

  TEST_CASE("a cancelled pause ends the attempts") {
    timer_fixture f;
    attempts a{.failures = 100};
    int result = 0;
    auto const child = start(f.loop, retrying(f, a, {}, result));
    child->cancel();
    settle(f.loop);
    CHECK(child->aborted());
    CHECK(a.made == 1);
  }
}

TEST_SUITE("timeout") {
  TEST_CASE("work that is done in time gives its result") {
    timer_fixture f;
    int result = 0;
    bool cancelled = false;
    auto const child = start(f.loop, limited(f, 2s, 1s, result, cancelled));
    f.pass(1s);
    CHECK(child->ended);
    CHECK_FALSE(child->failure);
    CHECK(result == 42);
    CHECK(f.timers.sleepers() == 0);
  }

  TEST_CASE("work that needs no time gives its result") {
    timer_fixture f;
    int result = 0;
    bool cancelled = false;
    auto const child = start(f.loop, limited(f, 2s, 0s, result, cancelled));
    CHECK(result == 42);
    CHECK(f.timers.sleepers() == 0);
  }

  TEST_CASE("work that takes too long is cancelled and has ended") {
    timer_fixture f;
    int result = 0;
    bool cancelled = false;
    auto const child = start(f.loop, limited(f, 1s, 2s, result, cancelled));
    f.pass(1s);
    CHECK(child->failed_with(async_errc::timed_out));
    CHECK(cancelled);
    CHECK(f.timers.sleepers() == 0);
  }

  TEST_CASE("the work's own failure is thrown") {
    timer_fixture f;
    auto const child = start(f.loop, limited_failure(f));
    CHECK(child->failed_with(async_errc::channel_broken));
  }

  TEST_CASE("a cancellation reaches the work") {
    timer_fixture f;
    int result = 0;
    bool cancelled = false;
    auto const child = start(f.loop, limited(f, 5s, 2s, result, cancelled));
    child->cancel();
    settle(f.loop);
    CHECK(child->aborted());
    CHECK(cancelled);
  }

  TEST_CASE("an item received in the moment the time runs out is not lost") {
    for (bool const item_first : {true, false}) {
      CAPTURE(item_first);
      timer_fixture f;
      auto halves = make_channel<int>(f.loop.get_executor(), 1);
      std::optional<int> got;
      auto const child = start(f.loop, receive_limited(f, halves.second, got));
      int item = 7;
      if (item_first) REQUIRE(halves.first.try_send(item));
      f.timers.advance(1s);
      if (!item_first) REQUIRE(halves.first.try_send(item));
      settle(f.loop);
      CHECK(child->ended);
      // Either it was given, or it is still queued: never both gone.
      if (!got) got = halves.second.try_receive();
      CHECK(got == 7);
    }
  }
}

}  // namespace diskdump
