// The executor of a simulated world. Everything that is ready to run (a coroutine that was woken, a
// job of a worker pool) waits here for its turn, and the seed decides whose turn it is. One thread;
// nothing runs but by run_one().
#pragma once

#include <deque>
#include <memory>

#include "async/task.hpp"
#include "chance.hpp"

namespace diskdump::simulation {

enum class turn_policy : std::uint8_t {
  oldest,  // as an event loop does
  any,     // each of those that are ready is as likely as the others
  newest,  // mostly the one that became ready last: what came first is kept waiting
};

class turns {
 public:
  turns(random_sequence random, turn_policy policy, trace& events)
      : random_(random), policy_(policy), events_(events) {}
  turns(turns const&) = delete;
  turns& operator=(turns const&) = delete;

  // For everything in this world. This object outlives it.
  [[nodiscard]] asio::any_io_executor executor();
  // The same, for work that hold_back() keeps from its turn: a disk that stands still.
  [[nodiscard]] asio::any_io_executor disk_executor();
  void hold_back(bool held);

  // Runs one of those that are ready; false where none is.
  bool run_one();
  // Whether the event loop below has nothing left that waits: no timer, no pending coroutine.
  [[nodiscard]] bool loop_is_empty();
  // Sabotage: one of those that will be ready never gets its turn.
  void lose_one() { lose_at_ = 400; }
  [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }

 private:
  friend class seeded_executor;
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
  template <class F>
  void add(F fn, bool disk) {
    auto& list = disk && held_back_ ? waiting_ : ready_;
    list.push_back(std::make_unique<job_of<F>>(std::move(fn)));
  }
  void poll_loop();
  std::unique_ptr<job> choose();

  asio::io_context loop_{1};  // holds Asio's timers, which is what coroutines wait on
  random_sequence random_;
  turn_policy policy_;
  trace& events_;
  std::deque<std::unique_ptr<job>> ready_;
  std::deque<std::unique_ptr<job>> waiting_;  // for the disk
  bool held_back_ = false;
  bool running_ = false;
  std::uint64_t taken_ = 0;
  std::uint64_t lose_at_ = 0;  // 0: never
  std::unique_ptr<job> lost_;
};

// What Asio asks of an executor. As with an io_context, dispatch() from inside a turn runs at once,
// and post() never does.
class seeded_executor {
 public:
  explicit seeded_executor(turns& world, bool disk) noexcept : world_(&world), disk_(disk) {}

  [[nodiscard]] asio::execution_context& query(asio::execution::context_t) const noexcept {
    return world_->loop_;
  }
  [[nodiscard]] asio::execution::blocking_t query(asio::execution::blocking_t) const noexcept {
    return never_ ? asio::execution::blocking_t(asio::execution::blocking.never)
                  : asio::execution::blocking_t(asio::execution::blocking.possibly);
  }
  [[nodiscard]] seeded_executor require(asio::execution::blocking_t::never_t) const noexcept {
    return with(true);
  }
  [[nodiscard]] seeded_executor require(asio::execution::blocking_t::possibly_t) const noexcept {
    return with(false);
  }
  template <class F>
  void execute(F&& fn) const {
    std::decay_t<F> mine(std::forward<F>(fn));
    if (world_->running_ && !never_ && !disk_) {
      mine();
    } else {
      world_->add(std::move(mine), disk_);
    }
  }
  friend bool operator==(seeded_executor const& a, seeded_executor const& b) noexcept {
    return a.world_ == b.world_ && a.disk_ == b.disk_ && a.never_ == b.never_;
  }
  friend bool operator!=(seeded_executor const& a, seeded_executor const& b) noexcept {
    return !(a == b);
  }

 private:
  [[nodiscard]] seeded_executor with(bool never) const noexcept {
    auto copy = *this;
    copy.never_ = never;
    return copy;
  }
  turns* world_;
  bool disk_;
  bool never_ = false;
};

}  // namespace diskdump::simulation
