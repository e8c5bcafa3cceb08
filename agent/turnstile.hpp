// Lets coroutines that finish in any order go on in the order of their tickets, one at a time. Used
// where several lanes of a stage work on groups of one image. Single-threaded.
#pragma once

#include <cstdint>

#include "async/wait_list.hpp"

namespace diskdump {

class turnstile {
 public:
  explicit turnstile(asio::any_io_executor executor) : changed_(std::move(executor)) {}

  // Completes when next() was called for every ticket below `ticket`, resuming on the executor.
  // Cancelled: throws; the tickets above never get their turn.
  [[nodiscard]] task<> wait(std::uint64_t ticket) {
    while (next_ != ticket) co_await changed_.wait();
  }
  // The holder of the current ticket is through.
  void next() {
    ++next_;
    changed_.wake_all();
  }

 private:
  std::uint64_t next_ = 0;
  wait_list changed_;
};

}  // namespace diskdump
