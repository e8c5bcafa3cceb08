// A nursery: every child coroutine belongs to a scope, and a scope is joined before it is gone.
//
// The first failure in time is the one that join() throws; it cancels the other children, and the
// operation_aborted or broken channel that follows from that is noise. (Asio's `a && b` reports
// the first by position, so that a disk error comes out as "Operation aborted".)
#pragma once

#include <exception>
#include <list>

#include "async/task.hpp"
#include "async/wait_list.hpp"

namespace diskdump {

class scope {
 public:
  // `executor` runs the children; it must be single-threaded, and all calls come from it.
  explicit scope(asio::any_io_executor executor);
  ~scope();  // Invariant: joined.
  scope(scope const&) = delete;
  scope& operator=(scope const&) = delete;

  // Starts `child`, which may fail only by throwing. After cancel() it is started and cancelled
  // at its first wait.
  void spawn(task<> child);

  // Cancels all children (terminal); join() still waits for them. Idempotent.
  void cancel();

  // Completes when every child has ended, also those spawned meanwhile, resuming on the executor;
  // then throws the first failure, if any. Cancelling join() cancels the children and goes on
  // waiting for them, so that it never leaves one behind. One join at a time.
  [[nodiscard]] task<> join();

  [[nodiscard]] std::size_t running() const noexcept { return children_.size(); }
  [[nodiscard]] bool failed() const noexcept { return first_failure_ != nullptr; }

 private:
  struct child_state {
    asio::cancellation_signal cancel;
  };
  using children = std::list<child_state>;

  static task<> run(task<> child, scope& self);
  void record(std::exception_ptr failure);

  asio::any_io_executor executor_;
  children children_;
  std::exception_ptr first_failure_;  // a real one, in time
  std::exception_ptr first_noise_;    // an abort or a broken channel
  bool cancelled_ = false;
  asio::steady_timer idle_;  // cancelled when the last child ends
};

// Whether this failure only follows from another one: operation_aborted or a broken channel.
[[nodiscard]] bool is_consequence(std::exception_ptr failure) noexcept;

}  // namespace diskdump
