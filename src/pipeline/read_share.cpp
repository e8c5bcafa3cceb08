#include "pipeline/read_share.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace diskdump {

read_share::read_share(std::uint64_t total_bytes_per_s) : total_bytes_per_s_(total_bytes_per_s) {
  DISKDUMP_ASSERT(total_bytes_per_s > 0);
}

read_share::~read_share() { DISKDUMP_ASSERT(readers_.empty()); }

void read_share::divide() {
  if (readers_.empty()) return;
  // 0 would be no limit at all.
  auto const each = std::max<std::uint64_t>(total_bytes_per_s_ / readers_.size(), 1);
  for (auto* const reader : readers_) reader->share_changed(each);
}

void read_share::join(sharing_reader& who) {
  DISKDUMP_ASSERT(std::find(readers_.begin(), readers_.end(), &who) == readers_.end());
  readers_.push_back(&who);
  divide();
}

void read_share::leave(sharing_reader& who) {
  if (std::erase(readers_, &who) > 0) divide();
}

}  // namespace diskdump
