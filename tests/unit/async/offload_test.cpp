#include "async/offload.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "async/byte_budget.hpp"
#include "async/channel.hpp"
#include "async/run_task.hpp"
#include "async/scope.hpp"
#include "async/spawned.hpp"

namespace diskdump {

namespace {

task<> produce(sender<int> out) {
  for (int i = 0; i < 10; ++i) co_await out.send(i);
  out.finish();
}
task<> consume(receiver<int> in, int& sum) {
  while (auto item = co_await in.receive()) sum += *item;
}
task<> whole(worker_pool& pool, int& sum, std::thread::id& ran_on, std::thread::id& resumed_on) {
  auto const executor = co_await asio::this_coro::executor;
  auto [out, in] = make_channel<int>(executor, 2);
  co_await with_scope([&](scope& children) {
    children.spawn(produce(std::move(out)));
    children.spawn(consume(std::move(in), sum));
  });
  auto job = launch(pool, executor, [] { return 7; });
  co_await parallel_for(pool, 4, [](std::size_t) {});
  sum += co_await offload(pool, [&] {
    ran_on = std::this_thread::get_id();
    return 100;
  });
  resumed_on = std::this_thread::get_id();
  sum += co_await job.result();
}

task<> offload_that_throws(worker_pool& pool) {
  co_await offload(pool, [] { throw std::runtime_error("on the worker"); });
}
task<int> job_that_throws(worker_pool& pool) {
  auto job = launch(pool, co_await asio::this_coro::executor,
                    []() -> int { throw std::runtime_error("in the job"); });
  co_return co_await job.result();
}
task<> offload_gated(worker_pool& pool, std::shared_future<void> gate, int& ran, int& after) {
  co_await offload(pool, [&] {
    gate.wait();
    ++ran;
  });
  ++after;  // the cancellation is noticed at the next wait only
  co_await offload(pool, [&] { ran += 100; });
}
task<> drop_job(worker_pool& pool, std::shared_future<void> gate, byte_budget& budget,
                std::atomic<bool>& ran) {
  auto const executor = co_await asio::this_coro::executor;
  auto job = launch(pool, executor, [gate, &ran, lease = co_await budget.acquire(10)] {
    gate.wait();
    ran = true;
  });
}
task<> await_job(worker_pool& pool, std::shared_future<void> gate, std::atomic<bool>& ran) {
  auto job = launch(pool, co_await asio::this_coro::executor, [gate, &ran] {
    gate.wait();
    ran = true;
  });
  co_await job.result();
}
task<> visit_all(worker_pool& pool, std::size_t count, std::multiset<std::size_t>& seen,
                 std::mutex& mutex) {
  co_await parallel_for(pool, count, [&](std::size_t i) {
    std::lock_guard const lock(mutex);
    seen.insert(i);
  });
}
task<> visit_and_throw(worker_pool& pool, std::atomic<int>& visited) {
  co_await parallel_for(pool, 1000, [&](std::size_t i) {
    ++visited;
    if (i == 10) throw std::runtime_error("at ten");
  });
}

}  // namespace

TEST_SUITE("offload") {
  TEST_CASE("work runs on the pool and its caller resumes on the event loop") {
    asio::io_context loop;
    worker_pool pool(2);
    int sum = 0;
    std::thread::id ran_on, resumed_on;
    run_task(loop, whole(pool, sum, ran_on, resumed_on));
    CHECK(sum == 45 + 100 + 7);
    CHECK(resumed_on == std::this_thread::get_id());
    CHECK(ran_on != std::this_thread::get_id());
  }

  TEST_CASE("a pool without threads runs its work on the executor that it was given") {
    asio::io_context loop;
    worker_pool pool(loop.get_executor(), 3);
    CHECK(pool.threads() == 3);
    int sum = 0;
    std::thread::id ran_on, resumed_on;
    run_task(loop, whole(pool, sum, ran_on, resumed_on));
    CHECK(sum == 45 + 100 + 7);
    CHECK(ran_on == std::this_thread::get_id());
    CHECK(resumed_on == std::this_thread::get_id());
    CHECK_THROWS_WITH((void)run_task(loop, job_that_throws(pool)), "in the job");
    std::multiset<std::size_t> seen;
    std::mutex mutex;
    run_task(loop, visit_all(pool, 100, seen, mutex));
    CHECK(seen.size() == 100);
  }

  TEST_CASE("what the function throws reaches the caller") {
    asio::io_context loop;
    worker_pool pool(1);
    CHECK_THROWS_WITH(run_task(loop, offload_that_throws(pool)), "on the worker");
    CHECK_THROWS_WITH((void)run_task(loop, job_that_throws(pool)), "in the job");
  }

  TEST_CASE("a cancelled offload waits for the function, and the next wait throws") {
    asio::io_context loop;
    worker_pool pool(1);
    std::promise<void> gate;
    int ran = 0, after = 0;
    auto const child = start(loop, offload_gated(pool, gate.get_future().share(), ran, after));
    child->cancel();
    settle(loop);
    CHECK_FALSE(child->ended);
    gate.set_value();
    loop.restart();
    loop.run();
    CHECK(child->aborted());
    CHECK(ran == 1);
    CHECK(after == 1);
  }

  TEST_CASE("a dropped job runs on, and what it owns is given back on the event loop") {
    asio::io_context loop;
    worker_pool pool(1);
    byte_budget budget(loop.get_executor(), 10);
    std::promise<void> gate;
    std::atomic<bool> ran = false;
    auto const child = start(loop, drop_job(pool, gate.get_future().share(), budget, ran));
    CHECK(child->ended);
    CHECK(budget.leased_bytes() == 10);
    gate.set_value();
    loop.restart();
    loop.run();  // the job keeps the loop alive until it has ended
    CHECK(ran);
    CHECK(budget.leased_bytes() == 0);
  }

  TEST_CASE("waiting for a job can be cancelled while the job runs on") {
    asio::io_context loop;
    worker_pool pool(1);
    std::promise<void> gate;
    std::atomic<bool> ran = false;
    auto const child = start(loop, await_job(pool, gate.get_future().share(), ran));
    child->cancel();
    settle(loop);
    CHECK(child->aborted());
    CHECK_FALSE(ran);
    gate.set_value();
    loop.restart();
    loop.run();
    CHECK(ran);
  }

  TEST_CASE("parallel_for visits each index once") {
    asio::io_context loop;
    worker_pool pool(4);
    for (std::size_t const count : {std::size_t{0}, std::size_t{1}, std::size_t{1000}}) {
      std::multiset<std::size_t> seen;
      std::mutex mutex;
      run_task(loop, visit_all(pool, count, seen, mutex));
      CHECK(seen.size() == count);
      CHECK(std::set<std::size_t>(seen.begin(), seen.end()).size() == count);
    }
  }

  TEST_CASE("parallel_for stops early at a failure and throws it") {
    asio::io_context loop;
    worker_pool pool(4);
    std::atomic<int> visited = 0;
    CHECK_THROWS_WITH(run_task(loop, visit_and_throw(pool, visited)), "at ten");
    CHECK(visited >= 11);
  }

  TEST_CASE("many hops from many coroutines all come back") {
    asio::io_context loop;
    worker_pool pool(4);
    std::atomic<int> visited = 0;
    int rounds = 0;
    struct hopper {
      static task<> hop(worker_pool& p, std::atomic<int>& v, int& done) {
        for (int i = 0; i < 200; ++i) co_await offload(p, [&v] { ++v; });
        ++done;
      }
      static task<> all(worker_pool& p, std::atomic<int>& v, int& done) {
        co_await with_scope([&](scope& s) {
          for (int i = 0; i < 20; ++i) s.spawn(hop(p, v, done));
        });
      }
    };
    run_task(loop, hopper::all(pool, visited, rounds));
    CHECK(visited == 4000);
    CHECK(rounds == 20);
  }
}

}  // namespace diskdump
