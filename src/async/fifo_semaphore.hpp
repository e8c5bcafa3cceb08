// Counted units, given out in order of arrival: what byte_budget, buffer_pool and the
// depth of a ring are made of. A unit that comes back goes straight to the one who has waited
// longest, so that a newcomer cannot take it while the waiter is being woken, and a large request
// is not starved by small ones. Not thread-safe: all calls come from the one thread that runs the
// executor.
#pragma once

#include <cstdint>
#include <list>

#include "async/wait_list.hpp"

namespace diskdump {

// Where a request that has to wait stands.
enum class queue_place : std::uint8_t {
  last,   // behind all that came before it
  first,  // before all that wait: for what must not wait for those who have not begun yet
};

class fifo_semaphore {
 public:
  fifo_semaphore(asio::any_io_executor executor, std::uint64_t units)
      : executor_(std::move(executor)), available_(units) {}
  ~fifo_semaphore();  // Invariant: nobody waits any more.
  fifo_semaphore(fifo_semaphore const&) = delete;
  fifo_semaphore& operator=(fifo_semaphore const&) = delete;

  // Completes when `units` were taken, resuming on the executor; at once, without a turn of the
  // event loop, where they are free and nobody waits. Any number at once. Cancelled: none taken.
  [[nodiscard]] task<> acquire(std::uint64_t units, queue_place where = queue_place::last);
  // False where they are not free or others wait for theirs.
  [[nodiscard]] bool try_acquire(std::uint64_t units) noexcept;
  void release(std::uint64_t units) noexcept;

  [[nodiscard]] std::uint64_t available() const noexcept { return available_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return queue_.size(); }

 private:
  struct request {
    request(asio::any_io_executor const& executor, std::uint64_t n) : units(n), ready(executor) {}
    std::uint64_t units;
    bool granted = false;
    wait_list ready;
  };
  class place;
  void grant() noexcept;

  asio::any_io_executor executor_;
  std::uint64_t available_;
  std::list<request*> queue_;  // Invariant: the head does not fit into available_.
};

}  // namespace diskdump
