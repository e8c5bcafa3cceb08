#include "store/block_store.hpp"

namespace diskdump {

std::optional<byte_vector> block_store::get(block_id const& id) {
  frame_batch frames;
  fetch(std::span(&id, 1), frames);
  auto const frame = frames[0];
  if (!frame) return std::nullopt;
  return byte_vector(frame->begin(), frame->end());
}

}  // namespace diskdump
