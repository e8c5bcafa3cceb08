#include "codec/block_id.hpp"

namespace diskdump {

std::string block_id::hex() const {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(2 * size_bytes);
  for (auto const b : bytes) {
    out += digits[std::to_integer<unsigned>(b) >> 4];
    out += digits[std::to_integer<unsigned>(b) & 15];
  }
  return out;
}

std::optional<block_id> block_id::from_hex(std::string_view text) noexcept {
  if (text.size() != 2 * size_bytes) return std::nullopt;
  auto const digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  block_id id;
  for (std::size_t i = 0; i < size_bytes; ++i) {
    int const high = digit(text[2 * i]);
    int const low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    id.bytes[i] = static_cast<std::byte>(high << 4 | low);
  }
  return id;
}

}  // namespace diskdump
