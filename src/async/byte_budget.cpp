#include "async/byte_budget.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace diskdump {

void byte_lease::release() noexcept {
  if (budget_ != nullptr) std::exchange(budget_, nullptr)->give_back(std::exchange(bytes_, 0));
}

byte_budget::~byte_budget() { DISKDUMP_ASSERT(leased_bytes_ == 0); }

void byte_budget::give_back(std::uint64_t bytes) noexcept {
  DISKDUMP_ASSERT(bytes <= leased_bytes_);
  leased_bytes_ -= bytes;
  space_.wake_one();
}

task<byte_lease> byte_budget::acquire(std::uint64_t bytes) {
  DISKDUMP_ASSERT(bytes <= capacity_bytes_);
  if (head_waits_ || leased_bytes_ + bytes > capacity_bytes_) {
    // The head keeps its place while it waits for space, so that small requests cannot starve it.
    while (head_waits_) co_await queue_.wait();
    struct turn {
      byte_budget& budget;
      explicit turn(byte_budget& b) : budget(b) { budget.head_waits_ = true; }
      ~turn() {
        budget.head_waits_ = false;
        budget.queue_.wake_one();
      }
    } const mine(*this);
    while (leased_bytes_ + bytes > capacity_bytes_) co_await space_.wait();
    leased_bytes_ += bytes;
  } else {
    leased_bytes_ += bytes;
  }
  leased_bytes_peak_ = std::max(leased_bytes_peak_, leased_bytes_);
  co_return byte_lease(*this, bytes);
}

}  // namespace diskdump
