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
    : slot_bytes_(slot_bytes), slots_(slots), units_(std::move(executor), slots) {
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
  units_.release(1);
}

slot_lease buffer_pool::take() noexcept {
  auto const slot = free_.back();
  free_.pop_back();
  return slot_lease(*this, slot);
}

slot_lease buffer_pool::try_acquire() noexcept {
  if (!units_.try_acquire(1)) return {};
  return take();
}

task<slot_lease> buffer_pool::acquire() {
  co_await units_.acquire(1);
  co_return take();
}

}  // namespace diskdump
