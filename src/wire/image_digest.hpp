// Counts and the digest over the block ids of an image, as END carries them. Both ends keep one and
// compare: pair check for everything that was announced. It covers the blocks from START's
// first_block to the end. No thread of its own.
#pragma once

#include "base/units.hpp"
#include "codec/digest.hpp"
#include "wire/messages.hpp"

namespace diskdump {

class image_digest {
 public:
  // REQUIRES: first <= geometry.blocks().
  explicit image_digest(block_geometry geometry, block_index first = {});

  // REQUIRES: the run does not pass the end of the image; it is one block if it has an id.
  void add(digest_run const& run);

  [[nodiscard]] block_index next() const noexcept { return next_; }
  // How many blocks are not announced yet.
  [[nodiscard]] block_count rest() const noexcept {
    return {geometry_.blocks().value - next_.value};
  }
  [[nodiscard]] block_count data_blocks() const noexcept { return data_; }
  [[nodiscard]] block_count zero_blocks() const noexcept { return zero_; }
  [[nodiscard]] block_id value() const noexcept { return ids_.value(); }
  // The id of a zero block at `i`: that of a full block, or of the short last one.
  [[nodiscard]] block_id const& zero_id(block_index i) const noexcept;

 private:
  block_geometry geometry_;
  block_index next_;
  block_count data_;
  block_count zero_;
  block_id zero_full_;
  block_id zero_last_;
  sha256_stream ids_;
};

}  // namespace diskdump
