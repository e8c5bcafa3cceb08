#include "wire/image_digest.hpp"

#include "base/assert.hpp"

namespace diskdump {

image_digest::image_digest(block_geometry geometry, block_index first)
    : geometry_(geometry), next_(first), zero_full_(zero_block_id(geometry.block_bytes)) {
  auto const blocks = geometry.blocks().value;
  DISKDUMP_ASSERT(first.value <= blocks);
  auto const last_bytes =
      blocks == 0 ? geometry.block_bytes : geometry.length_bytes(block_index{blocks - 1});
  zero_last_ = last_bytes == geometry.block_bytes ? zero_full_ : zero_block_id(last_bytes);
}

void image_digest::add(digest_run const& run) {
  DISKDUMP_ASSERT(run.blocks <= rest());
  if (run.kind == run_kind::data || run.kind == run_kind::expected) {
    DISKDUMP_ASSERT(run.blocks.value == 1);
    ids_.update(run.id.bytes);
    ++next_;
    ++data_;
    return;
  }
  for (std::uint64_t i = 0; i < run.blocks.value; ++i, ++next_) {
    ids_.update(zero_id(next_).bytes);
  }
  zero_ += run.blocks;
}

block_id const& image_digest::zero_id(block_index i) const noexcept {
  return i.value + 1 == geometry_.blocks().value ? zero_last_ : zero_full_;
}

}  // namespace diskdump
