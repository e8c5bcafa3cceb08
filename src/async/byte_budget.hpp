// Memory metered in bytes: a lease is taken before the memory is, and is carried by the buffer.
// Single-threaded: acquire and release on the executor's thread. (A buffer that a worker thread is
// done with is handed back to the executor first.)
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "async/fifo_semaphore.hpp"

namespace diskdump {

class byte_budget;

// Owns `bytes()` of the budget's capacity and gives them back when it goes. Move-only. The budget
// outlives its leases.
class byte_lease {
 public:
  byte_lease() = default;
  byte_lease(byte_lease&& other) noexcept
      : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  byte_lease& operator=(byte_lease&& other) noexcept {
    if (this != &other) {
      release();
      budget_ = std::exchange(other.budget_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  ~byte_lease() { release(); }

  void release() noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  friend class byte_budget;
  byte_lease(byte_budget& budget, std::uint64_t bytes) noexcept : budget_(&budget), bytes_(bytes) {}
  byte_budget* budget_ = nullptr;
  std::uint64_t bytes_ = 0;
};

class byte_budget {
 public:
  byte_budget(asio::any_io_executor executor, std::uint64_t capacity_bytes)
      : capacity_bytes_(capacity_bytes), units_(std::move(executor), capacity_bytes) {}
  ~byte_budget();  // Invariant: every lease came back.

  // Completes with a lease of `bytes`, in order of arrival: a large request is not starved by small
  // ones; or before all that wait. Resumes on the executor. Cancelled: nothing was taken.
  // REQUIRES: bytes <= capacity.
  [[nodiscard]] task<byte_lease> acquire(std::uint64_t bytes,
                                         queue_place where = queue_place::last);

  // The same at once; nullopt where it would wait.
  [[nodiscard]] std::optional<byte_lease> try_acquire(std::uint64_t bytes);

  [[nodiscard]] std::uint64_t capacity_bytes() const noexcept { return capacity_bytes_; }
  // Leases held, and bytes promised to a waiter that is being woken.
  [[nodiscard]] std::uint64_t leased_bytes() const noexcept {
    return capacity_bytes_ - units_.available();
  }
  [[nodiscard]] std::uint64_t leased_bytes_peak() const noexcept { return leased_bytes_peak_; }

 private:
  friend class byte_lease;
  void give_back(std::uint64_t bytes) noexcept;

  std::uint64_t capacity_bytes_;
  std::uint64_t leased_bytes_peak_ = 0;
  fifo_semaphore units_;
};

}  // namespace diskdump
