#include "async/byte_budget.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace diskdump {

void byte_lease::release() noexcept {
  if (budget_ != nullptr) std::exchange(budget_, nullptr)->give_back(std::exchange(bytes_, 0));
}

byte_budget::~byte_budget() { DISKDUMP_ASSERT(leased_bytes() == 0); }

void byte_budget::give_back(std::uint64_t bytes) noexcept {
  DISKDUMP_ASSERT(bytes <= leased_bytes());
  units_.release(bytes);
}

std::optional<byte_lease> byte_budget::try_acquire(std::uint64_t bytes) {
  DISKDUMP_ASSERT(bytes <= capacity_bytes_);
  if (!units_.try_acquire(bytes)) return std::nullopt;
  leased_bytes_peak_ = std::max(leased_bytes_peak_, leased_bytes());
  return byte_lease(*this, bytes);
}

task<byte_lease> byte_budget::acquire(std::uint64_t bytes, queue_place where) {
  DISKDUMP_ASSERT(bytes <= capacity_bytes_);
  co_await units_.acquire(bytes, where);
  leased_bytes_peak_ = std::max(leased_bytes_peak_, leased_bytes());
  co_return byte_lease(*this, bytes);
}

}  // namespace diskdump
