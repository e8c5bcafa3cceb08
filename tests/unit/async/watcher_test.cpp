#include "async/watcher.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

#include "async/async_errc.hpp"
#include "async/channel.hpp"
#include "async/spawned.hpp"
#include "async/timer.hpp"

namespace diskdump {

namespace {

using namespace std::chrono_literals;

struct watcher_fixture {
  asio::io_context loop;
  manual_timer_source timers{loop.get_executor()};
  std::string events;
  std::optional<int> result;
  void pass(std::chrono::seconds duration) {
    timers.advance(duration);
    settle(loop);
  }
};

// Notes how it ended: by itself, or by a cancellation.
task<int> work_for(watcher_fixture& f, std::chrono::seconds duration) {
  try {
    co_await f.timers.sleep(duration);
  } catch (...) {
    f.events += "work cancelled.";
    throw;
  }
  f.events += "work done.";
  co_return 7;
}
task<int> work_that_is_deaf(watcher_fixture& f, std::chrono::seconds duration) {
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_return co_await work_for(f, duration);
}
task<int> work_without_waiting() { co_return 7; }
task<int> work_that_fails(watcher_fixture& f, std::chrono::seconds duration) {
  co_await f.timers.sleep(duration);
  throw std::runtime_error("the work failed");
}
task<> watch_until_cancelled(watcher_fixture& f) {
  try {
    co_await f.timers.sleep(1h);
  } catch (...) {
    f.events += "watcher cancelled.";
    throw;
  }
}
task<> watch_and_complain_when_cancelled(watcher_fixture& f) {
  try {
    co_await f.timers.sleep(1h);
  } catch (...) {
  }
  throw std::runtime_error("the watcher complains");
}
task<> watch_for(watcher_fixture& f, std::chrono::seconds duration) {
  co_await f.timers.sleep(duration);
  f.events += "watcher returned.";
}
task<> watch_and_fail(watcher_fixture& f, std::chrono::seconds duration) {
  co_await f.timers.sleep(duration);
  throw error(async_errc::timed_out, severity::transient);
}
task<> watch_and_end_slowly(watcher_fixture& f) {
  std::exception_ptr failure;
  try {
    co_await f.timers.sleep(1h);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await f.timers.sleep(5s);
  f.events += "watcher ended.";
  std::rethrow_exception(failure);
}

task<> both_of(watcher_fixture& f, task<int> work, task<> watcher) {
  f.result = co_await with_watcher(std::move(work), std::move(watcher));
}
task<> wait_after_both(watcher_fixture& f, task<int> work, task<> watcher) {
  co_await both_of(f, std::move(work), std::move(watcher));
  co_await f.timers.sleep(1s);
  f.events += "went on.";
}
task<> ignore_result(watcher_fixture& f, task<int> work) { f.result = co_await std::move(work); }

std::string reason_of(spawned const& child) {
  try {
    if (child.failure) std::rethrow_exception(child.failure);
  } catch (std::exception const& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_SUITE("watcher") {
  TEST_CASE("the end of the work ends the watcher, and is no failure") {
    watcher_fixture f;
    auto const child = start(f.loop, both_of(f, work_for(f, 1s), watch_until_cancelled(f)));
    CHECK_FALSE(child->ended);
    f.pass(1s);
    CHECK(child->ended);
    CHECK_FALSE(child->failure);
    CHECK(f.result == 7);
    CHECK(f.events == "work done.watcher cancelled.");
  }

  TEST_CASE("work that ends before the watcher has begun") {
    watcher_fixture f;
    auto const child = start(f.loop, both_of(f, work_without_waiting(), watch_until_cancelled(f)));
    CHECK(child->ended);
    CHECK_FALSE(child->failure);
    CHECK(f.result == 7);
    CHECK(f.timers.sleepers() == 0);
  }

  TEST_CASE("what the watcher throws as it is ended is lost with it") {
    watcher_fixture f;
    auto const child =
        start(f.loop, both_of(f, work_for(f, 1s), watch_and_complain_when_cancelled(f)));
    f.pass(1s);
    CHECK(child->ended);
    CHECK_FALSE(child->failure);
    CHECK(f.result == 7);
  }

  TEST_CASE("a watcher that needs its time is waited for") {
    watcher_fixture f;
    auto const child = start(f.loop, both_of(f, work_for(f, 1s), watch_and_end_slowly(f)));
    f.pass(1s);
    CHECK_FALSE(child->ended);
    f.pass(5s);
    CHECK(child->ended);
    CHECK_FALSE(child->failure);
    CHECK(f.events == "work done.watcher ended.");
  }

  TEST_CASE("a watcher that fails cancels the work, and its failure is told") {
    watcher_fixture f;
    auto const child = start(f.loop, both_of(f, work_for(f, 10s), watch_and_fail(f, 1s)));
    f.pass(1s);
    CHECK(child->failed_with(async_errc::timed_out));
    CHECK_FALSE(f.result.has_value());
    CHECK(f.events == "work cancelled.");
  }

  TEST_CASE("a result that was reached all the same is given, whatever the watcher found") {
    watcher_fixture f;
    auto const child = start(f.loop, both_of(f, work_that_is_deaf(f, 10s), watch_and_fail(f, 1s)));
    f.pass(1s);
    CHECK_FALSE(child->ended);
    f.pass(9s);
    CHECK_FALSE(child->failure);
    CHECK(f.result == 7);
  }

  TEST_CASE("work that fails ends the watcher, and its failure is told") {
    watcher_fixture f;
    for (bool const complains : {false, true}) {
      f.events.clear();
      auto const child = start(f.loop, both_of(f, work_that_fails(f, 1s),
                                               complains ? watch_and_complain_when_cancelled(f)
                                                         : watch_until_cancelled(f)));
      f.pass(1s);
      CHECK(reason_of(*child) == "the work failed");
      CHECK(f.events == (complains ? "" : "watcher cancelled."));
    }
  }

  TEST_CASE("a watcher that returns leaves the work to itself") {
    watcher_fixture f;
    auto const child = start(f.loop, both_of(f, work_for(f, 3s), watch_for(f, 1s)));
    f.pass(1s);
    CHECK(f.events == "watcher returned.");
    CHECK_FALSE(child->ended);
    f.pass(2s);
    CHECK_FALSE(child->failure);
    CHECK(f.result == 7);
  }

  TEST_CASE("cancelled, both are, and are waited for") {
    watcher_fixture f;
    auto const child = start(f.loop, both_of(f, work_for(f, 3s), watch_and_end_slowly(f)));
    child->cancel();
    settle(f.loop);
    CHECK(f.events == "work cancelled.");
    CHECK_FALSE(child->ended);
    f.pass(5s);
    CHECK(child->aborted());
    CHECK_FALSE(f.result.has_value());
  }

  TEST_CASE("cancelled, it tells the watcher's complaint rather than the cancellation") {
    watcher_fixture f;
    auto const child =
        start(f.loop, both_of(f, work_for(f, 3s), watch_and_complain_when_cancelled(f)));
    child->cancel();
    settle(f.loop);
    CHECK(reason_of(*child) == "the watcher complains");
  }

  TEST_CASE("cancelled as the work ends, the result is given and the next wait throws") {
    watcher_fixture f;
    auto const child =
        start(f.loop, wait_after_both(f, work_that_is_deaf(f, 1s), watch_until_cancelled(f)));
    child->cancel();
    settle(f.loop);
    f.pass(1s);
    CHECK(f.result == 7);
    CHECK(child->aborted());
    CHECK(f.events == "watcher cancelled.work done.");
  }

  TEST_CASE("work without a result, and a broken channel that is all there is") {
    watcher_fixture f;
    auto ends = make_channel<int>(f.loop.get_executor(), 1);
    auto const receive_one = [](receiver<int>& in) -> task<int> {
      co_return (co_await in.receive()).value_or(0);
    };
    auto const child = start(
        f.loop, with_watcher(ignore_result(f, receive_one(ends.second)), watch_until_cancelled(f)));
    {
      auto const gone = std::move(ends.first);
    }
    settle(f.loop);
    CHECK(child->failed_with(async_errc::channel_broken));
    auto const other = start(
        f.loop, with_watcher(ignore_result(f, work_without_waiting()), watch_until_cancelled(f)));
    CHECK(other->ended);
    CHECK_FALSE(other->failure);
    CHECK(f.result == 7);
  }
}

}  // namespace diskdump
