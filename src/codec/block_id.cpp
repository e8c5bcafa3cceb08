#include "codec/block_id.hpp"

namespace diskdump {

namespace {

constexpr std::uint8_t no_digit = 0xff;

// Per character its value, or no_digit. Without branches, which random digits mislead: manifests
// have millions of them.
constexpr std::array<std::uint8_t, 256> digit_values = [] {
  std::array<std::uint8_t, 256> values{};
  for (unsigned c = 0; c < values.size(); ++c) {
    values[c] = c >= '0' && c <= '9'   ? static_cast<std::uint8_t>(c - '0')
                : c >= 'a' && c <= 'f' ? static_cast<std::uint8_t>(c - 'a' + 10)
                                       : no_digit;
  }
  return values;
}();

}  // namespace

std::string block_id::hex() const {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out(2 * size_bytes, '0');
  for (std::size_t i = 0; i < size_bytes; ++i) {
    out[2 * i] = digits[std::to_integer<unsigned>(bytes[i]) >> 4];
    out[2 * i + 1] = digits[std::to_integer<unsigned>(bytes[i]) & 15];
  }
  return out;
}

std::optional<block_id> block_id::from_hex(std::string_view text) noexcept {
  if (text.size() != 2 * size_bytes) return std::nullopt;
  block_id id;
  unsigned seen = 0;
  for (std::size_t i = 0; i < size_bytes; ++i) {
    unsigned const high = digit_values[static_cast<unsigned char>(text[2 * i])];
    unsigned const low = digit_values[static_cast<unsigned char>(text[2 * i + 1])];
    seen |= high | low;
    id.bytes[i] = static_cast<std::byte>(high << 4 | low);
  }
  if (seen > 15) return std::nullopt;
  return id;
}

}  // namespace diskdump
