#include "async/buffer_pool.hpp"

#include <sys/mman.h>

#include <new>

#include "base/assert.hpp"

namespace diskdump {

void slot_lease::release() noexcept {
  if (pool_ != nullptr) std::exchange(pool_, nullptr)->give_back(slot_);
}

byte_span slot_lease::bytes() const noexcept {
  DISKDUMP_ASSERT(pool_ != nullptr);
  return {pool_->memory_ + std::size_t{slot_} * pool_->slot_bytes_, pool_->slot_bytes_};
}

buffer_pool::buffer_pool(asio::any_io_executor executor, std::size_t slot_bytes,
                         std::uint32_t slots)
    : slot_bytes_(slot_bytes), slots_(slots), waiters_(std::move(executor)) {
  DISKDUMP_ASSERT(slots > 0 && slot_bytes > 0 && slot_bytes % 4096 == 0);
  void* const memory = ::mmap(nullptr, slot_bytes * slots, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<std::byte*>(memory);
  free_.reserve(slots);
  for (std::uint32_t i = slots; i-- > 0;) free_.push_back(i);
}

buffer_pool::~buffer_pool() {
  DISKDUMP_ASSERT(free_.size() == slots_);
  ::munmap(memory_, slot_bytes_ * slots_);
}

void buffer_pool::give_back(std::uint32_t slot) noexcept {
  free_.push_back(slot);
  waiters_.wake_one();
}

slot_lease buffer_pool::try_acquire() noexcept {
  if (free_.empty()) return {};
  auto const slot = free_.back();
  free_.pop_back();
  return slot_lease(*this, slot);
}

task<slot_lease> buffer_pool::acquire() {
  while (free_.empty()) co_await waiters_.wait();
  // A second free slot may have been announced to nobody while this waiter was being woken.
  auto lease = try_acquire();
  if (!free_.empty()) waiters_.wake_one();
  co_return lease;
}

}  // namespace diskdump
