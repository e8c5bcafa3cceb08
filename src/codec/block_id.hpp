// The SHA-256 of a block's content, which is its name in the store and on the wire.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace diskdump {

struct block_id {
  static constexpr std::size_t size_bytes = 32;
  std::array<std::byte, size_bytes> bytes{};

  friend auto operator<=>(block_id const&, block_id const&) = default;
  friend bool operator==(block_id const&, block_id const&) = default;

  // 64 lower-case hex digits.
  [[nodiscard]] std::string hex() const;
  // Accepts exactly 64 lower-case hex digits.
  [[nodiscard]] static std::optional<block_id> from_hex(std::string_view text) noexcept;
};

// A digest is uniform already; its first eight bytes are the hash. An attacker who grinds digests
// can only slow a hash table that holds at most one batch per target.
struct block_id_hash {
  std::size_t operator()(block_id const& id) const noexcept {
    return static_cast<std::size_t>(load_le<std::uint64_t>(id.bytes.data()));
  }
};

}  // namespace diskdump
