// A ring of bytes between exactly two threads: one writes into it, one reads out of it, without a
// lock. The socket's thread receives straight into it while a worker decrypts what is there.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>

#include "base/assert.hpp"
#include "base/bytes.hpp"

namespace diskdump {

class byte_ring {
 public:
  // REQUIRES: capacity is a power of two.
  explicit byte_ring(std::size_t capacity)
      : capacity_(capacity), bytes_(std::make_unique_for_overwrite<std::byte[]>(capacity)) {
    DISKDUMP_ASSERT(capacity > 0 && (capacity & (capacity - 1)) == 0);
  }

  // ---- The writing thread
  // ------------------------------------------------------------------------ The free room up to
  // the ring's end: empty only where the ring is full.
  [[nodiscard]] byte_span writable() noexcept {
    auto const written = written_.load(std::memory_order_relaxed);
    auto const room = capacity_ - (written - read_.load(std::memory_order_acquire));
    auto const at = written & (capacity_ - 1);
    return {bytes_.get() + at, std::min(room, capacity_ - at)};
  }
  // REQUIRES: n <= writable().size(), and that many bytes were put there.
  void commit(std::size_t n) noexcept {
    written_.store(written_.load(std::memory_order_relaxed) + n, std::memory_order_release);
  }

  // ---- The reading thread
  // ------------------------------------------------------------------------ Takes out up to
  // to.size() bytes; 0 where the ring is empty.
  [[nodiscard]] std::size_t read(byte_span to) noexcept {
    auto const taken = read_.load(std::memory_order_relaxed);
    auto const there = written_.load(std::memory_order_acquire) - taken;
    auto const n = std::min(to.size(), there);
    auto const at = taken & (capacity_ - 1);
    auto const first = std::min(n, capacity_ - at);
    std::copy_n(bytes_.get() + at, first, to.data());
    std::copy_n(bytes_.get(), n - first, to.data() + first);
    read_.store(taken + n, std::memory_order_release);
    return n;
  }

 private:
  std::size_t const capacity_;
  std::unique_ptr<std::byte[]> const bytes_;
  // Totals; positions are these modulo the capacity. Invariant: 0 <= written - read <= capacity.
  alignas(64) std::atomic<std::size_t> written_ = 0;
  alignas(64) std::atomic<std::size_t> read_ = 0;
};

}  // namespace diskdump
