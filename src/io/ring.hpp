// A private io_uring bound to an Asio executor. Each operation is one awaitable; completions arrive
// through an eventfd on which an asio::posix::stream_descriptor waits while operations are in
// flight (an idle ring does not keep the event loop running).
//
// Single-threaded: all calls come from the thread that runs the executor. The ring outlives its
// operations; its descriptors live on in a shared state until the last completion handler is gone,
// so that an event loop that is destroyed later touches no freed memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "async/task.hpp"

struct io_uring_sqe;

namespace diskdump {

class ring {
 public:
  // Sets up the kernel's side. Throws `error` (ring_failed) where it is missing or refused.
  // At most `queue_depth` operations are in flight; more wait their turn.
  ring(asio::any_io_executor executor, unsigned queue_depth);
  ~ring();  // Invariant: nothing in flight.
  ring(ring const&) = delete;
  ring& operator=(ring const&) = delete;

  // Fills a submission entry; user_data is set by the ring.
  using prepare = std::function<void(io_uring_sqe&)>;

  // Submits one operation and completes with its result (≥ 0, or -errno), resuming on the executor,
  // never inside the call. Any number at once. Cancelled: asks the kernel to stop and waits until
  // it has let go of the buffers, then throws operation_aborted, whether or not the operation was
  // carried out. What the entry points to lives until then.
  [[nodiscard]] task<int> submit(prepare fill);

  [[nodiscard]] unsigned in_flight() const noexcept;

 private:
  class state;
  struct operation;
  std::shared_ptr<state> state_;
};

}  // namespace diskdump
