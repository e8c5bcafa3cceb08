// Index and count of blocks are different types, so that neither is passed where the other, or a
// number of bytes, is meant. Bytes are plain std::uint64_t in names that end in `_bytes`.
#pragma once

#include <compare>
#include <cstdint>

namespace diskdump {

struct block_count {
  std::uint64_t value = 0;
  friend auto operator<=>(block_count, block_count) = default;
  block_count& operator+=(block_count other) noexcept {
    value += other.value;
    return *this;
  }
  block_count& operator++() noexcept {
    ++value;
    return *this;
  }
  friend block_count operator+(block_count a, block_count b) noexcept {
    return {a.value + b.value};
  }
};

// Position of a block in its image, counted from zero.
struct block_index {
  std::uint64_t value = 0;
  friend auto operator<=>(block_index, block_index) = default;
  block_index& operator+=(block_count n) noexcept {
    value += n.value;
    return *this;
  }
  block_index& operator++() noexcept {
    ++value;
    return *this;
  }
  friend block_index operator+(block_index i, block_count n) noexcept {
    return {i.value + n.value};
  }
  friend block_count operator-(block_index a, block_index b) noexcept {
    return {a.value - b.value};
  }
};

// How an image of `image_bytes` is cut into blocks of `block_bytes`; the last one may be shorter.
struct block_geometry {
  std::uint64_t image_bytes = 0;
  std::uint32_t block_bytes = 0;

  [[nodiscard]] block_count blocks() const noexcept {
    return {image_bytes / block_bytes + (image_bytes % block_bytes != 0 ? 1 : 0)};
  }
  [[nodiscard]] std::uint64_t offset_bytes(block_index i) const noexcept {
    return i.value * block_bytes;
  }
  // REQUIRES: i < blocks().
  [[nodiscard]] std::uint32_t length_bytes(block_index i) const noexcept {
    auto const rest = image_bytes - offset_bytes(i);
    return rest < block_bytes ? static_cast<std::uint32_t>(rest) : block_bytes;
  }
};

}  // namespace diskdump
