// Functions that run on a worker pool one after the other, in the order in which they were posted.
// What asio::strand does too; but a strand must not outlive its pool, and a session that a pending
// socket operation still holds may do so while a program ends.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include "async/offload.hpp"

namespace diskdump {

class serial_queue {
 public:
  explicit serial_queue(worker_pool& pool) : state_(std::make_shared<state>(pool.executor())) {}

  // `fn` is called once, on one of the pool's threads; or destroyed uncalled with the pool. Any
  // thread. REQUIRES: the pool lives.
  template <class F>
  void post(F fn) {
    auto one = std::make_unique<job_of<F>>(std::move(fn));
    std::lock_guard const lock(state_->mutex);
    state_->jobs.push_back(std::move(one));
    if (std::exchange(state_->running, true)) return;
    asio::post(state_->executor, runner(state_));
  }

 private:
  struct job {
    virtual ~job() = default;
    virtual void run() = 0;
  };
  template <class F>
  struct job_of final : job {
    explicit job_of(F f) : fn(std::move(f)) {}
    void run() override { fn(); }
    F fn;
  };
  struct state {
    explicit state(asio::any_io_executor e) : executor(std::move(e)) {}
    asio::any_io_executor executor;
    std::mutex mutex;
    std::deque<std::unique_ptr<job>> jobs;
    bool running = false;  // a runner is posted or at work
  };

  class runner {
   public:
    explicit runner(std::shared_ptr<state> s) : state_(std::move(s)) {}
    runner(runner&&) noexcept = default;
    runner& operator=(runner&&) = delete;
    // Dropped with its pool: the jobs may own what owns this queue.
    ~runner() {
      if (!state_) return;
      std::deque<std::unique_ptr<job>> dropped;  // destroyed after the lock is let go
      std::lock_guard const lock(state_->mutex);
      dropped.swap(state_->jobs);
    }
    // One job per turn, so that several sessions share the pool evenly.
    void operator()() {
      auto const s = std::move(state_);
      std::unique_ptr<job> one;
      {
        std::lock_guard const lock(s->mutex);
        one = std::move(s->jobs.front());
        s->jobs.pop_front();
      }
      one->run();
      one.reset();
      std::lock_guard const lock(s->mutex);
      if (s->jobs.empty()) {
        s->running = false;
      } else {
        asio::post(s->executor, runner(s));
      }
    }

   private:
    std::shared_ptr<state> state_;
  };

  std::shared_ptr<state> state_;
};

}  // namespace diskdump
