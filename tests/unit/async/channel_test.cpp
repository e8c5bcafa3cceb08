#include "async/channel.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <random>
#include <vector>

#include "async/byte_budget.hpp"
#include "async/scope.hpp"
#include "async/spawned.hpp"

namespace diskdump {

namespace {

task<> send_one(sender<int>& out, int value, bool& sent) {
  co_await out.send(value);
  sent = true;
}
task<> receive_one(receiver<int>& in, std::optional<int>& got, bool& done) {
  got = co_await in.receive();
  done = true;
}

struct channel_fixture {
  asio::io_context loop;
  sender<int> out;
  receiver<int> in;
  explicit channel_fixture(std::size_t items_max) {
    auto halves = make_channel<int>(loop.get_executor(), items_max);
    out = std::move(halves.first);
    in = std::move(halves.second);
  }
  void fill(int count) {
    for (int i = 0; i < count; ++i) REQUIRE(out.try_send(i));
  }
};

task<> hold_lease(byte_budget& budget, sender<byte_lease>& out) {
  co_await out.send(co_await budget.acquire(10));
}

// A sender and a receiver whose awaits are cancelled at random and begun again; every item must
// arrive exactly once, in order.
task<> send_all(sender<int> out, int count, int& next, bool& cancelled) {
  while (next < count) {
    bool sent = false;
    try {
      co_await out.send(next);
      sent = true;
    } catch (std::system_error const&) {
      cancelled = true;
    }
    if (sent) {
      ++next;
    } else {
      co_await asio::this_coro::reset_cancellation_state();
    }
  }
  out.finish();
}
task<> receive_all(receiver<int> in, std::vector<int>& got, bool& cancelled) {
  for (;;) {
    std::optional<int> item;
    bool aborted = false;
    try {
      item = co_await in.receive();
    } catch (std::system_error const&) {
      aborted = cancelled = true;
    }
    if (aborted) {
      co_await asio::this_coro::reset_cancellation_state();
      continue;
    }
    if (!item) co_return;
    got.push_back(*item);
  }
}

}  // namespace

TEST_SUITE("channel") {
  TEST_CASE("a sender waits while the queue is full") {
    channel_fixture f(2);
    f.fill(2);
    CHECK(f.out.full());
    int more = 7;
    CHECK_FALSE(f.out.try_send(more));
    bool sent = false;
    auto const s = start(f.loop, send_one(f.out, 2, sent));
    CHECK_FALSE(sent);
    CHECK(f.in.try_receive() == 0);
    settle(f.loop);
    CHECK(sent);
    CHECK(s->ended);
    CHECK(f.in.try_receive() == 1);
    CHECK(f.in.try_receive() == 2);
    CHECK(f.in.empty());
  }

  TEST_CASE("a blocked sender is woken when the receiver is dropped") {
    channel_fixture f(1);
    f.fill(1);
    bool sent = false;
    auto const s = start(f.loop, send_one(f.out, 1, sent));
    {
      auto const dropped = std::move(f.in);
    }
    settle(f.loop);
    CHECK(s->failed_with(async_errc::channel_broken));
    CHECK_FALSE(sent);
    int more = 0;
    CHECK_THROWS_AS((void)f.out.try_send(more), error);
  }

  TEST_CASE("a blocked receiver is woken when the sender is dropped without finishing") {
    channel_fixture f(1);
    std::optional<int> got;
    bool done = false;
    auto const r = start(f.loop, receive_one(f.in, got, done));
    {
      auto const dropped = std::move(f.out);
    }
    settle(f.loop);
    CHECK(r->failed_with(async_errc::channel_broken));
    CHECK_FALSE(done);
  }

  TEST_CASE("what was sent before the sender was dropped still arrives") {
    channel_fixture f(2);
    f.fill(1);
    {
      auto const dropped = std::move(f.out);
    }
    std::optional<int> got;
    bool done = false;
    auto const first = start(f.loop, receive_one(f.in, got, done));
    CHECK(got == 0);
    auto const second = start(f.loop, receive_one(f.in, got, done));
    CHECK(second->failed_with(async_errc::channel_broken));
  }

  TEST_CASE("a blocked receiver gets the end when the sender finishes") {
    channel_fixture f(1);
    std::optional<int> got = 5;
    bool done = false;
    auto const r = start(f.loop, receive_one(f.in, got, done));
    f.out.finish();
    settle(f.loop);
    CHECK(done);
    CHECK_FALSE(got.has_value());
    // The end stays.
    {
      auto const dropped = std::move(f.out);
    }
    got = 5;
    auto const again = start(f.loop, receive_one(f.in, got, done));
    CHECK_FALSE(again->failure);
    CHECK_FALSE(got.has_value());
  }

  TEST_CASE("a cancelled send did not enqueue") {
    channel_fixture f(1);
    f.fill(1);
    bool sent = false;
    auto const s = start(f.loop, send_one(f.out, 1, sent));
    SUBCASE("while it waits") {
      s->cancel();
      settle(f.loop);
      CHECK(s->aborted());
      CHECK(f.in.try_receive() == 0);
    }
    SUBCASE("while it is being woken") {
      CHECK(f.in.try_receive() == 0);
      s->cancel();
      settle(f.loop);
      CHECK(s->aborted());
    }
    CHECK_FALSE(sent);
    CHECK_FALSE(f.in.try_receive().has_value());
  }

  TEST_CASE("a cancelled receive took nothing") {
    channel_fixture f(2);
    std::optional<int> got;
    bool done = false;
    auto const r = start(f.loop, receive_one(f.in, got, done));
    f.fill(1);
    r->cancel();
    settle(f.loop);
    CHECK(r->aborted());
    CHECK_FALSE(got.has_value());
    CHECK(f.in.try_receive() == 0);
  }

  TEST_CASE("a wake-up that met a cancelled receiver reaches the next one") {
    channel_fixture f(2);
    std::optional<int> first, second;
    bool done = false;
    auto const a = start(f.loop, receive_one(f.in, first, done));
    auto const b = start(f.loop, receive_one(f.in, second, done));
    f.fill(1);
    a->cancel();
    settle(f.loop);
    CHECK(a->aborted());
    CHECK(b->ended);
    CHECK(second == 0);
  }

  TEST_CASE("leases in queued items go back when the receiver is dropped") {
    asio::io_context loop;
    byte_budget budget(loop.get_executor(), 100);
    auto halves = make_channel<byte_lease>(loop.get_executor(), 2);
    for (int i = 0; i < 3; ++i) {
      auto const s = start(loop, hold_lease(budget, halves.first));
      if (i < 2) {
        CHECK(s->ended);
        continue;
      }
      CHECK(budget.leased_bytes() == 30);
      {
        auto const dropped = std::move(halves.second);
      }
      CHECK(budget.leased_bytes() == 10);  // the blocked sender still has its own
      settle(loop);
      CHECK(s->failed_with(async_errc::channel_broken));
      CHECK(budget.leased_bytes() == 0);
    }
  }

  TEST_CASE("ten thousand items pass cancellations without loss, repeat or disorder") {
    for (unsigned const seed : {1U, 2U, 3U, 4U}) {
      CAPTURE(seed);
      std::mt19937 random(seed);
      asio::io_context loop;
      auto halves = make_channel<int>(loop.get_executor(), 1 + random() % 4);
      int next = 0;
      std::vector<int> got;
      bool send_cancelled = false, receive_cancelled = false;
      // Started without settling, so that the schedule below is what moves them.
      spawned out, in;
      auto const launch_one = [&loop](spawned& child, task<> work) {
        asio::co_spawn(
            loop, std::move(work),
            asio::bind_cancellation_slot(child.signal.slot(), [&child](std::exception_ptr e) {
              child.ended = true;
              child.failure = e;
            }));
      };
      launch_one(out, send_all(std::move(halves.first), 10'000, next, send_cancelled));
      settle(loop);
      launch_one(in, receive_all(std::move(halves.second), got, receive_cancelled));
      loop.restart();
      loop.poll_one();  // it begins; what is cancelled before that never does
      for (long turns = 0; !(out.ended && in.ended); ++turns) {
        REQUIRE(turns < 2'000'000);
        for (auto n = random() % 4; n > 0; --n) {
          loop.restart();
          loop.poll_one();
        }
        if (random() % 4 == 0 && !out.ended) out.cancel();
        if (random() % 4 == 0 && !in.ended) in.cancel();
      }
      CHECK_FALSE(out.failure);
      CHECK_FALSE(in.failure);
      CHECK(send_cancelled);
      CHECK(receive_cancelled);
      REQUIRE(got.size() == 10'000);
      for (int i = 0; i < 10'000; ++i) REQUIRE(got[static_cast<std::size_t>(i)] == i);
    }
  }
}

}  // namespace diskdump
