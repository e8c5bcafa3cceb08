// CPU work and blocking calls, away from the event loop. A hop costs two queue operations: hand
// over at least 64 KiB of work at a time.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "async/task.hpp"
#include "async/wait_list.hpp"

namespace diskdump {

// Threads that run functions. Destroying it waits for the functions that run and drops those that
// do not; the coroutines that await them must be gone by then, which scopes see to.
//
// A pool may also have no threads, and run its functions one by one on an executor that it is
// given: the same code then runs in an order that a simulation decides. Such functions take their
// turn between those of the event loop, and must not wait for it.
class worker_pool {
 public:
  explicit worker_pool(unsigned threads)
      : threads_(threads), pool_(std::in_place, threads), executor_(pool_->get_executor()) {}
  // `threads` is what the pool says of itself. `executor` outlives it.
  worker_pool(asio::any_io_executor executor, unsigned threads)
      : threads_(threads), executor_(std::move(executor)) {}
  ~worker_pool() {
    if (!pool_) return;
    pool_->stop();
    pool_->join();
  }
  worker_pool(worker_pool const&) = delete;
  worker_pool& operator=(worker_pool const&) = delete;

  [[nodiscard]] unsigned threads() const noexcept { return threads_; }
  [[nodiscard]] asio::any_io_executor const& executor() const noexcept { return executor_; }

 private:
  unsigned threads_;
  std::optional<asio::thread_pool> pool_;
  asio::any_io_executor executor_;
};

namespace detail {

template <class T>
struct job_result {
  std::optional<T> value;
  template <class F>
  void run(F& fn) {
    value.emplace(fn());
  }
  T take() { return std::move(*value); }
};
template <>
struct job_result<void> {
  template <class F>
  void run(F& fn) {
    fn();
  }
  void take() {}
};

// Lives until both the worker and the waiting side have let go of it.
template <class T>
struct job_state : job_result<T> {
  explicit job_state(asio::any_io_executor const& executor) : waiters(executor) {}
  std::exception_ptr failure;
  bool done = false;  // set and read on the executor only
  wait_list waiters;
};

}  // namespace detail

// Work that was handed to a pool and whose result is taken later: how a stage keeps several pieces
// in flight and still passes them on in order. Dropping a job leaves it running; it owns all that
// it uses, and its result is thrown away.
template <class T>
class [[nodiscard]] job {
 public:
  explicit job(std::shared_ptr<detail::job_state<T>> state) : state_(std::move(state)) {}

  // Completes when the function has returned, with its result or exception, resuming on the
  // executor given to launch(). Called once. Cancelled: throws, the function runs on.
  [[nodiscard]] task<T> result() {
    auto const state = state_;
    while (!state->done) co_await state->waiters.wait();
    if (state->failure) std::rethrow_exception(state->failure);
    co_return state->take();
  }

 private:
  std::shared_ptr<detail::job_state<T>> state_;
};

// Runs `fn` on the pool now. `fn` owns what it uses: nothing keeps the caller alive for it. `fn` is
// destroyed on `executor`, so that leases that it carries are given back there.
template <class F>
[[nodiscard]] job<std::invoke_result_t<F&>> launch(worker_pool& pool,
                                                   asio::any_io_executor const& executor, F fn) {
  using result = std::invoke_result_t<F&>;
  auto state = std::make_shared<detail::job_state<result>>(executor);
  auto shared_fn = std::make_shared<F>(std::move(fn));
  auto alive = asio::prefer(executor, asio::execution::outstanding_work.tracked);
  asio::post(pool.executor(), [state, shared_fn = std::move(shared_fn),
                               alive = std::move(alive)]() mutable {
    try {
      state->run(*shared_fn);
    } catch (...) {
      state->failure = std::current_exception();
    }
    // The references go along to the executor, so that the last ones are dropped there.
    auto const& target = alive;
    asio::post(target, [state = std::move(state), shared_fn = std::move(shared_fn)]() mutable {
      shared_fn.reset();
      state->done = true;
      state->waiters.wake_all();
    });
  });
  return job<result>(std::move(state));
}

// Completes when `fn` has run on the pool, with its result or exception, resuming on the caller's
// executor. Cannot be cancelled: a cancellation is noticed at the caller's next wait, so that `fn`
// may refer to the caller's frame.
template <class F>
[[nodiscard]] task<std::invoke_result_t<F&>> offload(worker_pool& pool, F fn) {
  using result = std::invoke_result_t<F&>;
  auto executor = co_await asio::this_coro::executor;
  detail::job_result<result> value;
  std::exception_ptr failure;
  co_await asio::async_initiate<asio::use_awaitable_t<asio::any_io_executor> const,
                                void(asio::error_code)>(
      [&](auto handler) {
        auto alive = asio::prefer(executor, asio::execution::outstanding_work.tracked);
        asio::post(pool.executor(), [&value, &failure, &fn, alive = std::move(alive),
                                     handler = std::move(handler)]() mutable {
          try {
            value.run(fn);
          } catch (...) {
            failure = std::current_exception();
          }
          auto const target = alive;
          asio::post(target, [handler = std::move(handler)]() mutable {
            std::move(handler)(asio::error_code());
          });
        });
      },
      asio::use_awaitable);
  if (failure) std::rethrow_exception(failure);
  co_return value.take();
}

// Runs fn(i) for i in [0, count) on the pool, `parts` at a time at most, and completes when all
// have returned; throws one of the failures. Not cancellable, like offload().
template <class F>
[[nodiscard]] task<> parallel_for(worker_pool& pool, std::size_t count, F fn) {
  if (count == 0) co_return;
  auto executor = co_await asio::this_coro::executor;
  std::atomic<std::size_t> next = 0;
  std::size_t const parts = std::min<std::size_t>(pool.threads(), count);
  std::size_t running = parts;  // on the executor only
  std::exception_ptr failure;   // on the executor only
  co_await asio::async_initiate<asio::use_awaitable_t<asio::any_io_executor> const,
                                void(asio::error_code)>(
      [&](auto handler) {
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        auto alive = asio::prefer(executor, asio::execution::outstanding_work.tracked);
        for (std::size_t part = 0; part < parts; ++part) {
          asio::post(pool.executor(), [&, shared, alive] {
            std::exception_ptr mine;
            try {
              for (auto i = next.fetch_add(1); i < count; i = next.fetch_add(1)) fn(i);
            } catch (...) {
              mine = std::current_exception();
              next.store(count);
            }
            asio::post(alive, [&running, &failure, shared, mine] {
              if (mine && !failure) failure = mine;
              if (--running == 0) std::move (*shared)(asio::error_code());
            });
          });
        }
      },
      asio::use_awaitable);
  if (failure) std::rethrow_exception(failure);
}

}  // namespace diskdump
