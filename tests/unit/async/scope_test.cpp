#include "async/scope.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

#include "async/async_errc.hpp"
#include "async/channel.hpp"
#include "async/offload.hpp"
#include "async/run_task.hpp"
#include "async/spawned.hpp"
#include "async/timer.hpp"
#include "base/error.hpp"

namespace diskdump {

namespace {

using namespace std::chrono_literals;

task<> sleep_then(timer_source& timers, std::chrono::seconds duration, int& ended) {
  co_await timers.sleep(duration);
  ++ended;
}
task<> sleep_then_fail(timer_source& timers, std::chrono::seconds duration, char const* text) {
  co_await timers.sleep(duration);
  throw std::runtime_error(text);
}
task<> end_at_once(int& ended) {
  ++ended;
  co_return;
}
task<> fail_when_cancelled(timer_source& timers, char const* text) {
  try {
    co_await timers.sleep(1h);
  } catch (...) {
  }
  throw std::runtime_error(text);
}
task<> clean_up_slowly(timer_source& timers, int& ended) {
  std::exception_ptr failure;
  try {
    co_await timers.sleep(1h);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await timers.sleep(5s);
  ++ended;
  std::rethrow_exception(failure);
}
task<> receive_one(receiver<int> in) { (void)co_await in.receive(); }
task<> drop_sender(sender<int> out, timer_source& timers) {
  co_await timers.sleep(1s);
  throw std::runtime_error("the disk failed");
}

struct scope_fixture {
  asio::io_context loop;
  manual_timer_source timers{loop.get_executor()};
  int ended = 0;
  void pass(std::chrono::seconds duration) {
    timers.advance(duration);
    settle(loop);
  }
};

std::string text_of(spawned const& child) {
  return child.failure ? describe(child.failure) : std::string();
}

task<> two_failures(scope_fixture& f, scope*& inside) {
  co_await with_scope([&](scope& s) {
    inside = &s;
    s.spawn(sleep_then_fail(f.timers, 3s, "third second"));
    s.spawn(sleep_then_fail(f.timers, 2s, "second second"));
    s.spawn(sleep_then(f.timers, 1s, f.ended));
    s.spawn(sleep_then(f.timers, 100s, f.ended));
  });
}
task<> failing_after_cancel(scope_fixture& f) {
  co_await with_scope([&](scope& s) {
    s.spawn(fail_when_cancelled(f.timers, "late"));
    s.spawn(sleep_then_fail(f.timers, 1s, "first"));
  });
}
task<> broken_channel_is_noise(scope_fixture& f) {
  auto [out, in] = make_channel<int>(f.loop.get_executor(), 1);
  co_await with_scope([&](scope& s) {
    s.spawn(receive_one(std::move(in)));
    s.spawn(drop_sender(std::move(out), f.timers));
  });
}
task<> only_noise(scope_fixture& f) {
  auto [out, in] = make_channel<int>(f.loop.get_executor(), 1);
  auto dropped = std::move(out);
  co_await with_scope([&](scope& s) {
    s.spawn(receive_one(std::move(in)));
    sender<int>(std::move(dropped));
  });
}
task<> spawn_after_cancel(scope_fixture& f) {
  co_await with_scope([&](scope& s) {
    s.cancel();
    s.spawn(sleep_then(f.timers, 1h, f.ended));
    s.spawn(end_at_once(f.ended));
  });
}
task<> spawn_and_join(scope_fixture& f) {
  scope s(co_await asio::this_coro::executor);
  s.spawn(sleep_then(f.timers, 1h, f.ended));
  s.spawn(clean_up_slowly(f.timers, f.ended));
  co_await s.join();
}
task<> body_that_throws(scope_fixture& f) {
  co_await with_scope([&](scope& s) {
    s.spawn(sleep_then(f.timers, 1h, f.ended));
    throw std::runtime_error("body");
  });
}
task<> body_that_waits(scope_fixture& f, scope& s) {
  s.spawn(sleep_then(f.timers, 5s, f.ended));
  co_await f.timers.sleep(1s);
  s.spawn(sleep_then(f.timers, 1s, f.ended));
}
task<> coroutine_body(scope_fixture& f) {
  co_await with_scope([&](scope& s) { return body_that_waits(f, s); });
}
task<> spawn_grandchild(scope_fixture& f, scope& s) {
  co_await f.timers.sleep(1s);
  s.spawn(sleep_then(f.timers, 1s, f.ended));
}
task<> grows_while_joined(scope_fixture& f) {
  co_await with_scope([&](scope& s) { s.spawn(spawn_grandchild(f, s)); });
}
task<> cancelled_without_a_wait(scope_fixture& f, worker_pool& pool, spawned& self, bool bare) {
  // The cancellation comes during an offload, which does not notice it.
  co_await offload(pool, [] {});
  self.cancel();
  if (bare) {
    scope s(co_await asio::this_coro::executor);
    s.spawn(sleep_then(f.timers, 1h, f.ended));
    s.spawn(clean_up_slowly(f.timers, f.ended));
    co_await s.join();
  } else {
    co_await with_scope([&](scope& s) { s.spawn(sleep_then(f.timers, 1h, f.ended)); });
  }
}

}  // namespace

TEST_SUITE("scope") {
  TEST_CASE("the failure that came first in time is thrown, and cancels the others") {
    scope_fixture f;
    scope* inside = nullptr;
    auto const parent = start(f.loop, two_failures(f, inside));
    f.pass(1s);
    CHECK(f.ended == 1);
    CHECK(inside->running() == 3);
    CHECK_FALSE(parent->ended);
    f.pass(1s);
    CHECK(parent->ended);
    CHECK(text_of(*parent) == "second second");
    CHECK(f.ended == 1);
    CHECK(f.timers.sleepers() == 0);
  }

  TEST_CASE("of two failures in the same moment the earlier one is thrown") {
    scope_fixture f;
    scope* inside = nullptr;
    auto const parent = start(f.loop, two_failures(f, inside));
    f.pass(10s);
    CHECK(text_of(*parent) == "second second");
  }

  TEST_CASE("what fails only because it was cancelled does not hide the cause") {
    scope_fixture f;
    auto const parent = start(f.loop, failing_after_cancel(f));
    f.pass(1s);
    CHECK(text_of(*parent) == "first");
  }

  TEST_CASE("a broken channel is noise beside the failure that broke it") {
    scope_fixture f;
    auto const parent = start(f.loop, broken_channel_is_noise(f));
    f.pass(1s);
    CHECK(text_of(*parent) == "the disk failed");
  }

  TEST_CASE("noise alone is thrown rather than swallowed") {
    scope_fixture f;
    auto const parent = start(f.loop, only_noise(f));
    CHECK(parent->failed_with(async_errc::channel_broken));
  }

  TEST_CASE("a child spawned after cancel() is cancelled at its first wait") {
    scope_fixture f;
    auto const parent = start(f.loop, spawn_after_cancel(f));
    CHECK(parent->ended);
    CHECK(parent->aborted());
    CHECK(f.ended == 1);
  }

  TEST_CASE("a cancelled join waits for children that clean up") {
    scope_fixture f;
    auto const parent = start(f.loop, spawn_and_join(f));
    parent->cancel();
    settle(f.loop);
    CHECK_FALSE(parent->ended);
    f.pass(5s);
    CHECK(parent->ended);
    CHECK(parent->aborted());
    CHECK(f.ended == 1);
  }

  TEST_CASE("cancelling a join twice changes nothing") {
    scope_fixture f;
    auto const parent = start(f.loop, spawn_and_join(f));
    parent->cancel();
    settle(f.loop);
    parent->cancel();
    settle(f.loop);
    CHECK_FALSE(parent->ended);
    f.pass(5s);
    CHECK(parent->aborted());
  }

  TEST_CASE("a body that throws cancels the children it spawned") {
    scope_fixture f;
    auto const parent = start(f.loop, body_that_throws(f));
    CHECK(parent->ended);
    CHECK(text_of(*parent) == "body");
    CHECK(f.ended == 0);
  }

  TEST_CASE("a body may be a coroutine, and children outlast it") {
    scope_fixture f;
    auto const parent = start(f.loop, coroutine_body(f));
    f.pass(1s);
    f.pass(1s);
    CHECK(f.ended == 1);
    CHECK_FALSE(parent->ended);
    f.pass(3s);
    CHECK(parent->ended);
    CHECK_FALSE(parent->failure);
    CHECK(f.ended == 2);
  }

  TEST_CASE("a cancelled coroutine body cancels the children") {
    scope_fixture f;
    auto const parent = start(f.loop, coroutine_body(f));
    parent->cancel();
    settle(f.loop);
    CHECK(parent->aborted());
    CHECK(f.timers.sleepers() == 0);
  }

  TEST_CASE("join waits for what children spawn") {
    scope_fixture f;
    auto const parent = start(f.loop, grows_while_joined(f));
    f.pass(1s);
    CHECK_FALSE(parent->ended);
    f.pass(1s);
    CHECK(parent->ended);
    CHECK(f.ended == 1);
  }

  TEST_CASE("a coroutine that was cancelled before it spawned leaves no child behind") {
    scope_fixture f;
    worker_pool pool(1);
    for (bool const bare : {false, true}) {
      CAPTURE(bare);
      spawned self;
      asio::co_spawn(f.loop, cancelled_without_a_wait(f, pool, self, bare),
                     asio::bind_cancellation_slot(self.signal.slot(), [&](std::exception_ptr e) {
                       self.ended = true;
                       self.failure = e;
                     }));
      f.loop.restart();
      // The bare scope's destructor runs the loop itself; time must pass for its child.
      asio::steady_timer tick(f.loop, 10ms);
      tick.async_wait([&](asio::error_code) { f.timers.advance(5s); });
      f.loop.run();
      CHECK(self.ended);
      CHECK(self.aborted());
      CHECK(f.timers.sleepers() == 0);
      CHECK(f.ended == (bare ? 1 : 0));
    }
  }
}

}  // namespace diskdump
