// Byte views and little-endian access. Every integer on the wire goes through `load_le`/`store_le`.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace diskdump {

using byte_view = std::span<std::byte const>;
using byte_span = std::span<std::byte>;
using byte_vector = std::vector<std::byte>;

[[nodiscard]] inline byte_view as_bytes(std::string_view text) noexcept {
  return std::as_bytes(std::span(text.data(), text.size()));
}
[[nodiscard]] inline std::string_view as_text(byte_view bytes) noexcept {
  return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
}

// REQUIRES: `from` points at sizeof(Int) readable bytes; no alignment is needed.
template <std::unsigned_integral Int>
[[nodiscard]] Int load_le(std::byte const* from) noexcept {
  Int value = 0;
  for (std::size_t i = 0; i < sizeof(Int); ++i) {
    value |= static_cast<Int>(static_cast<Int>(from[i]) << (8 * i));
  }
  return value;
}

// REQUIRES: `to` points at sizeof(Int) writable bytes; no alignment is needed.
template <std::unsigned_integral Int>
void store_le(std::byte* to, Int value) noexcept {
  for (std::size_t i = 0; i < sizeof(Int); ++i) {
    to[i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
  }
}

template <std::unsigned_integral Int>
void append_le(byte_vector& to, Int value) {
  auto const at = to.size();
  to.resize(at + sizeof(Int));
  store_le(to.data() + at, value);
}

inline void append_bytes(byte_vector& to, byte_view bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// Empties a vector and frees its memory, which `v = {}` and clear() keep: {} is to a vector a list
// of no elements.
template <class Element>
void free_memory(std::vector<Element>& v) noexcept {
  std::vector<Element>().swap(v);
}

}  // namespace diskdump
