// byte_budget, buffer_pool, and the semaphore below both.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "async/buffer_pool.hpp"
#include "async/byte_budget.hpp"
#include "async/fifo_semaphore.hpp"
#include "async/spawned.hpp"

namespace diskdump {

namespace {

task<> take(byte_budget& budget, std::uint64_t bytes, byte_lease& lease,
            queue_place where = queue_place::last) {
  lease = co_await budget.acquire(bytes, where);
}
task<> take_slot(buffer_pool& pool, slot_lease& lease) { lease = co_await pool.acquire(); }
task<> take_units(fifo_semaphore& units, std::uint64_t n, std::vector<int>& order, int who) {
  co_await units.acquire(n);
  order.push_back(who);
}

}  // namespace

TEST_SUITE("byte_budget") {
  TEST_CASE("leases are given out in order of arrival, and a large one is not starved") {
    asio::io_context loop;
    byte_budget budget(loop.get_executor(), 100);
    byte_lease first, second, large, small;
    auto const a = start(loop, take(budget, 60, first));
    auto const b = start(loop, take(budget, 30, second));
    auto const c = start(loop, take(budget, 90, large));
    auto const d = start(loop, take(budget, 10, small));
    CHECK(budget.leased_bytes() == 90);
    CHECK(large.bytes() == 0);
    CHECK(small.bytes() == 0);  // it would fit, but the large one came before it
    second.release();
    settle(loop);
    CHECK(large.bytes() == 0);
    CHECK(small.bytes() == 0);
    first.release();
    settle(loop);
    CHECK(large.bytes() == 90);
    CHECK(small.bytes() == 10);
    CHECK(budget.leased_bytes_peak() == 100);
  }

  TEST_CASE("who may stand first does not wait for those who came before") {
    asio::io_context loop;
    byte_budget budget(loop.get_executor(), 2);
    byte_lease held, other, waiter, large, urgent, small;
    auto const a = start(loop, take(budget, 1, held));
    auto const b = start(loop, take(budget, 1, other));
    auto const c = start(loop, take(budget, 1, waiter));
    auto const d = start(loop, take(budget, 1, urgent, queue_place::first));
    held.release();
    settle(loop);
    CHECK(urgent.bytes() == 1);
    CHECK(waiter.bytes() == 0);
    urgent.release();
    settle(loop);
    CHECK(waiter.bytes() == 1);
    // Where it fits and the one before which it stands does not, it waits for nobody.
    waiter.release();
    auto const e = start(loop, take(budget, 2, large));
    auto const f = start(loop, take(budget, 1, small, queue_place::first));
    settle(loop);
    CHECK(large.bytes() == 0);
    CHECK(small.bytes() == 1);
    small.release();
    other.release();
    settle(loop);
    CHECK(large.bytes() == 2);
  }

  TEST_CASE("a newcomer does not overtake a waiter that is being woken") {
    asio::io_context loop;
    byte_budget budget(loop.get_executor(), 100);
    byte_lease first, waiter, newcomer;
    auto const a = start(loop, take(budget, 100, first));
    auto const b = start(loop, take(budget, 100, waiter));
    first.release();  // the waiter has not run yet
    auto const c = start(loop, take(budget, 100, newcomer));
    CHECK(waiter.bytes() == 100);
    CHECK(newcomer.bytes() == 0);
    waiter.release();
    settle(loop);
    CHECK(newcomer.bytes() == 100);
  }

  TEST_CASE("what is asked for at once is there, or nobody waits for it") {
    asio::io_context loop;
    byte_budget budget(loop.get_executor(), 10);
    auto first = budget.try_acquire(6);
    REQUIRE(first);
    CHECK(first->bytes() == 6);
    CHECK_FALSE(budget.try_acquire(5));
    CHECK(budget.leased_bytes() == 6);
    byte_lease large;
    auto const waits = start(loop, take(budget, 10, large));
    // It would fit, but somebody came before it.
    CHECK_FALSE(budget.try_acquire(1));
    first.reset();
    settle(loop);
    CHECK(large.bytes() == 10);
  }

  TEST_CASE("a cancelled request takes nothing and lets those behind it pass") {
    asio::io_context loop;
    byte_budget budget(loop.get_executor(), 100);
    byte_lease first, large, small;
    auto const a = start(loop, take(budget, 50, first));
    auto const b = start(loop, take(budget, 90, large));
    auto const c = start(loop, take(budget, 50, small));
    SUBCASE("while it waits") {
      b->cancel();
      settle(loop);
      CHECK(small.bytes() == 50);
    }
    SUBCASE("after its bytes were granted") {
      first.release();
      b->cancel();
      settle(loop);
      CHECK(small.bytes() == 50);
    }
    CHECK(b->aborted());
    CHECK(large.bytes() == 0);
  }

  TEST_CASE("a lease that moves is given back once") {
    asio::io_context loop;
    byte_budget budget(loop.get_executor(), 100);
    byte_lease first, other;
    auto const a = start(loop, take(budget, 40, first));
    auto const b = start(loop, take(budget, 20, other));
    byte_lease moved(std::move(first));
    CHECK(first.bytes() == 0);
    CHECK(budget.leased_bytes() == 60);
    other = std::move(moved);  // gives the 20 back
    CHECK(budget.leased_bytes() == 40);
    CHECK(other.bytes() == 40);
    other.release();
    CHECK(budget.leased_bytes() == 0);
  }
}

TEST_SUITE("buffer_pool") {
  TEST_CASE("slots do not overlap, and an exhausted pool wakes in order of arrival") {
    asio::io_context loop;
    buffer_pool pool(loop.get_executor(), 4096, 2);
    auto one = pool.try_acquire();
    auto two = pool.try_acquire();
    REQUIRE(one);
    REQUIRE(two);
    CHECK_FALSE(static_cast<bool>(pool.try_acquire()));
    CHECK(one.bytes().size() == 4096);
    CHECK(reinterpret_cast<std::uintptr_t>(one.bytes().data()) % 4096 == 0);
    one.bytes()[0] = std::byte{1};
    two.bytes()[0] = std::byte{2};
    CHECK(one.bytes()[0] == std::byte{1});

    slot_lease third, fourth;
    auto const a = start(loop, take_slot(pool, third));
    auto const b = start(loop, take_slot(pool, fourth));
    one.release();
    CHECK_FALSE(static_cast<bool>(pool.try_acquire()));  // it is promised
    CHECK(pool.free_slots() == 0);
    settle(loop);
    CHECK(third);
    CHECK_FALSE(static_cast<bool>(fourth));
    b->cancel();
    settle(loop);
    CHECK(b->aborted());
    two.release();
    CHECK(pool.free_slots() == 1);
  }

  TEST_CASE("a cancelled waiter passes its slot on") {
    asio::io_context loop;
    buffer_pool pool(loop.get_executor(), 4096, 1);
    auto one = pool.try_acquire();
    slot_lease first, second;
    auto const a = start(loop, take_slot(pool, first));
    auto const b = start(loop, take_slot(pool, second));
    one.release();
    a->cancel();
    settle(loop);
    CHECK(a->aborted());
    CHECK(second);
  }
}

TEST_SUITE("fifo_semaphore") {
  TEST_CASE("units are kept count of through random requests and cancellations") {
    for (unsigned const seed : {1U, 2U, 3U}) {
      std::mt19937 random(seed);
      asio::io_context loop;
      fifo_semaphore units(loop.get_executor(), 10);
      std::vector<int> order;
      std::vector<std::unique_ptr<spawned>> waiters;
      std::vector<std::uint64_t> wanted;
      std::uint64_t given_back = 0;
      for (int i = 0; i < 2000; ++i) {
        wanted.push_back(1 + random() % 10);
        waiters.push_back(start(loop, take_units(units, wanted.back(), order, i)));
        if (random() % 3 == 0) waiters[random() % waiters.size()]->cancel();
        // Give back what the earliest holder has.
        while (units.waiting() > 20 && given_back < order.size()) {
          units.release(wanted[static_cast<std::size_t>(order[given_back++])]);
          if (random() % 2 == 0) waiters[random() % waiters.size()]->cancel();
          if (random() % 2 == 0) settle(loop);
        }
      }
      for (;;) {
        settle(loop);
        if (given_back == order.size()) break;
        units.release(wanted[static_cast<std::size_t>(order[given_back++])]);
      }
      CHECK(units.available() == 10);
      for (std::size_t i = 1; i < order.size(); ++i) REQUIRE(order[i - 1] < order[i]);
      std::size_t ended = 0;
      for (auto const& w : waiters) ended += w->ended ? 1 : 0;
      CHECK(ended == waiters.size());
      CHECK(order.size() > 100);
      CHECK(order.size() < waiters.size());
    }
  }
}

}  // namespace diskdump
