// A nursery: every child coroutine belongs to a scope, and a scope is joined before it is gone.
//
// The first failure in time is the one that join() throws; it cancels the other children, and the
// operation_aborted or broken channel that follows from that is noise. (Asio's `a && b` reports
// the first by position, so that a disk error comes out as "Operation aborted".)
//
// Use with_scope(). Two things can leave a function between its first spawn() and the end of a
// join(): a throw in between, and `co_await s.join()` itself, which Asio refuses to start in a
// coroutine that was cancelled meanwhile (during an offload, say). with_scope() is proof against
// both. A bare scope then falls back on its destructor, which cancels the children and runs the
// event loop until they have ended; what they fail with is lost.
#pragma once

#include <concepts>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "async/task.hpp"
#include "async/wait_list.hpp"

namespace diskdump {

class scope {
 public:
  // `executor` runs the children; it must be single-threaded, and all calls come from it.
  explicit scope(asio::any_io_executor executor);
  ~scope();  // the last resort of a scope that was not joined: see above
  scope(scope const&) = delete;
  scope& operator=(scope const&) = delete;

  // Starts `child`, which may fail only by throwing; called on the event loop, it runs to its first
  // wait inside this call. After cancel() it is cancelled at its first wait.
  void spawn(task<> child);

  // Cancels all children (terminal); join() still waits for them. Idempotent.
  void cancel();

  // Counts `failure` as one of a child: the first in time is thrown by join(). Cancels the
  // children.
  void fail(std::exception_ptr failure);

  // Completes when every child has ended, also those spawned meanwhile, resuming on the executor;
  // then throws the first failure, if any: operation_aborted where children were cancelled and
  // nothing else went wrong. Cancelling join() cancels the children and goes on waiting for them,
  // so that it never leaves one behind. One join at a time.
  [[nodiscard]] task<> join();

  [[nodiscard]] std::size_t running() const noexcept { return children_.size(); }
  [[nodiscard]] bool failed() const noexcept { return first_failure_ != nullptr; }

 private:
  struct child_state {
    asio::cancellation_signal cancel;
  };
  static task<> run(task<> child, scope& self);
  void record(std::exception_ptr failure);

  asio::any_io_executor executor_;
  std::list<std::shared_ptr<child_state>> children_;
  std::exception_ptr first_failure_;  // a real one, in time
  std::exception_ptr first_noise_;    // an abort or a broken channel
  bool cancelled_ = false;
  asio::steady_timer idle_;  // cancelled when the last child ends
};

// Runs `body(s)` with a new scope `s`, then joins it. `body` spawns children; it may be a coroutine
// itself (task<>), which counts as one more that can fail. When it throws, the children are
// cancelled, and its failure is weighed like theirs. Completes, throws and is cancelled like
// join().
//
//   co_await with_scope([&](scope& s) {
//     s.spawn(produce(std::move(out)));
//     s.spawn(consume(std::move(in)));
//   });
template <std::invocable<scope&> Body>
[[nodiscard]] task<> with_scope(Body body) {
  scope children(co_await asio::this_coro::executor);
  // From here on nothing leaves before the join.
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Body&, scope&>>) {
      body(children);
    } else {
      co_await body(children);
    }
  } catch (...) {
    children.fail(std::current_exception());
  }
  bool const throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  std::exception_ptr failure;
  try {
    co_await children.join();
  } catch (...) {
    failure = std::current_exception();
  }
  co_await asio::this_coro::throw_if_cancelled(throws);
  if (failure) std::rethrow_exception(failure);
}

// Whether this failure only follows from another one: operation_aborted or a broken channel.
[[nodiscard]] bool is_consequence(std::exception_ptr failure) noexcept;

}  // namespace diskdump
