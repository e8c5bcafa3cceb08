// The images of a simulated fleet: made of blocks of one small pool, so that targets share blocks,
// repeat them, and nothing is compressed or hashed twice in a thousand seeds.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hpp"
#include "base/units.hpp"
#include "chance.hpp"
#include "codec/block_id.hpp"

namespace diskdump::simulation {

inline constexpr std::uint32_t block_bytes = 4096;

struct pool_block {
  byte_vector bytes;
  block_id id;
};

// The same blocks in every run: half of them compress well, half do not.
[[nodiscard]] pool_block const& pooled(std::uint32_t number);
inline constexpr std::uint32_t pool_blocks = 1024;

class image {
 public:
  // What a block of the image is: a number of the pool, or one of these.
  static constexpr std::uint32_t zeros = ~0u;
  static constexpr std::uint32_t hole = ~0u - 1;

  image() = default;
  image(std::uint64_t image_bytes, std::vector<std::uint32_t> blocks);

  [[nodiscard]] block_geometry geometry() const noexcept { return geometry_; }
  [[nodiscard]] bool is_zero(block_index i) const noexcept { return blocks_[i.value] >= hole; }
  [[nodiscard]] bool is_hole(block_index i) const noexcept { return blocks_[i.value] == hole; }
  [[nodiscard]] byte_view block(block_index i) const;
  [[nodiscard]] block_id id(block_index i) const;
  [[nodiscard]] std::uint64_t data_blocks() const noexcept;
  // Another version of it: it begins with the same blocks and goes on with others.
  [[nodiscard]] image changed(random_sequence& random, bool same_size) const;
  // Number `at` cannot be read: what stands there instead are zeros.
  void lose(block_index at) { blocks_[at.value] = zeros; }

 private:
  block_geometry geometry_{0, block_bytes};
  std::vector<std::uint32_t> blocks_;
  mutable std::optional<block_id> last_id_;  // of a last block that is shorter
};

// An image of up to `blocks_max` blocks whose data are `common` blocks of the pool (from number
// `first` on) or, now and then, others.
[[nodiscard]] image make_image(random_sequence& random, std::uint64_t blocks_max,
                               std::uint32_t batch_blocks, std::uint32_t first,
                               std::uint32_t common);

}  // namespace diskdump::simulation
