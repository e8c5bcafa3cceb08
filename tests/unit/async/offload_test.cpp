#include "async/offload.hpp"

#include <doctest/doctest.h>

#include <thread>

#include "async/byte_budget.hpp"
#include "async/channel.hpp"
#include "async/scope.hpp"

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
  scope children(executor);
  children.spawn(produce(std::move(out)));
  children.spawn(consume(std::move(in), sum));
  co_await children.join();
  auto job = launch(pool, executor, [] { return 7; });
  co_await parallel_for(pool, 4, [](std::size_t) {});
  sum += co_await offload(pool, [&] {
    ran_on = std::this_thread::get_id();
    return 100;
  });
  resumed_on = std::this_thread::get_id();
  sum += co_await job.result();
}

}  // namespace

TEST_SUITE("offload") {
  TEST_CASE("work runs on the pool and its caller resumes on the event loop") {
    asio::io_context loop;
    worker_pool pool(2);
    int sum = 0;
    std::thread::id ran_on, resumed_on;
    std::exception_ptr failure;
    asio::co_spawn(loop, whole(pool, sum, ran_on, resumed_on),
                   [&](std::exception_ptr e) { failure = e; });
    loop.run();
    CHECK(!failure);
    CHECK(sum == 45 + 100 + 7);
    CHECK(resumed_on == std::this_thread::get_id());
    CHECK(ran_on != std::this_thread::get_id());
  }
}

}  // namespace diskdump
