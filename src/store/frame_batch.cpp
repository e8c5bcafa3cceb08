#include "store/frame_batch.hpp"

#include <algorithm>

namespace diskdump {

void frame_batch::reset(std::size_t count) {
  frames_.assign(count, std::nullopt);
  // What took several chunks this time has room in one the next time.
  if (chunks_.size() > 1) {
    std::size_t all = 0;
    for (auto const& c : chunks_) all += c.used_bytes;
    chunks_.clear();
    chunks_.push_back({std::make_unique_for_overwrite<std::byte[]>(all), all, 0});
  }
  for (auto& c : chunks_) c.used_bytes = 0;
}

byte_span frame_batch::room(std::size_t bytes) {
  if (chunks_.empty() || chunks_.back().size_bytes - chunks_.back().used_bytes < bytes) {
    chunks_.push_back({std::make_unique_for_overwrite<std::byte[]>(bytes), bytes, 0});
  }
  auto& last = chunks_.back();
  byte_span const found(last.memory.get() + last.used_bytes, bytes);
  last.used_bytes += bytes;
  return found;
}

void frame_batch::set_copy(std::size_t at, byte_view frame) {
  auto const copy = room(frame.size());
  std::copy(frame.begin(), frame.end(), copy.begin());
  set(at, copy);
}

}  // namespace diskdump
