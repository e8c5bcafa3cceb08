// Coroutines of one executor that wait for a condition: the primitive below channels, budgets,
// pools and events. Not thread-safe: all calls come from the one thread that runs the executor.
#pragma once

#include <list>

#include "async/task.hpp"

namespace diskdump {

class wait_list {
 public:
  explicit wait_list(asio::any_io_executor executor) : executor_(std::move(executor)) {}
  ~wait_list();  // Invariant: nobody waits any more.
  wait_list(wait_list const&) = delete;
  wait_list& operator=(wait_list const&) = delete;

  // Completes after a wake_one() or wake_all() that chose this waiter, resuming on the executor,
  // never inside the waker. The condition may be gone again by then: wait in a loop. Terminal
  // cancellation throws operation_aborted; a wake that met a cancelled waiter is passed on.
  // Any number of waiters, woken in order of arrival.
  [[nodiscard]] task<> wait();

  void wake_one();
  void wake_all();
  [[nodiscard]] bool empty() const noexcept { return waiters_.empty(); }
  [[nodiscard]] asio::any_io_executor const& executor() const noexcept { return executor_; }

 private:
  struct waiter {
    explicit waiter(asio::any_io_executor const& executor) : timer(executor) {}
    asio::steady_timer timer;  // never expires; cancelling it is the wake
    bool woken = false;
  };
  class registration;

  asio::any_io_executor executor_;
  std::list<waiter*> waiters_;
};

}  // namespace diskdump
