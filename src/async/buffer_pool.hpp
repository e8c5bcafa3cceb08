// A fixed number of equal slots of memory, leased one at a time: the agent's batch. Slots are
// aligned for O_DIRECT and come from one mapping, so that a slot never touched costs no memory.
// Single-threaded like byte_budget; the bytes of a leased slot may be used by any one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "async/fifo_semaphore.hpp"
#include "base/bytes.hpp"

namespace diskdump {

class buffer_pool;

// Owns one slot and gives it back when it goes. Move-only. The pool outlives its leases.
class slot_lease {
 public:
  slot_lease() = default;
  slot_lease(slot_lease&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)), slot_(other.slot_) {}
  slot_lease& operator=(slot_lease&& other) noexcept {
    if (this != &other) {
      release();
      pool_ = std::exchange(other.pool_, nullptr);
      slot_ = other.slot_;
    }
    return *this;
  }
  ~slot_lease() { release(); }

  void release() noexcept;
  [[nodiscard]] byte_span bytes() const noexcept;  // the whole slot
  [[nodiscard]] explicit operator bool() const noexcept { return pool_ != nullptr; }

 private:
  friend class buffer_pool;
  slot_lease(buffer_pool& pool, std::uint32_t slot) noexcept : pool_(&pool), slot_(slot) {}
  buffer_pool* pool_ = nullptr;
  std::uint32_t slot_ = 0;
};

class buffer_pool {
 public:
  // REQUIRES: slot_bytes is a multiple of 4096 and slots > 0. Throws std::bad_alloc where the
  // mapping fails.
  buffer_pool(asio::any_io_executor executor, std::size_t slot_bytes, std::uint32_t slots);
  ~buffer_pool();  // Invariant: every slot came back.
  buffer_pool(buffer_pool const&) = delete;
  buffer_pool& operator=(buffer_pool const&) = delete;

  // Completes with a slot, resuming on the executor, in order of arrival. Cancelled: none taken.
  [[nodiscard]] task<slot_lease> acquire();
  // A slot if one is free and nobody waits for one.
  [[nodiscard]] slot_lease try_acquire() noexcept;

  [[nodiscard]] std::uint32_t free_slots() const noexcept {
    return static_cast<std::uint32_t>(units_.available());
  }
  [[nodiscard]] std::uint32_t slots() const noexcept { return slots_; }
  [[nodiscard]] std::size_t slot_bytes() const noexcept { return slot_bytes_; }

 private:
  friend class slot_lease;
  void give_back(std::uint32_t slot) noexcept;
  [[nodiscard]] slot_lease take() noexcept;

  std::size_t slot_bytes_;
  std::uint32_t slots_;
  std::byte* memory_ = nullptr;
  std::vector<std::uint32_t> free_;  // a stack: the slot used last is warm in the cache
  fifo_semaphore units_;             // Invariant: available() <= free_.size()
};

}  // namespace diskdump
