// Reading and writing of payload fields; private to this folder. A reader never reads past its
// payload and throws wire_errc::malformed with the message's name as cause; finish() refuses bytes
// that nothing read. A text is a u16 length and so many bytes.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/block_id.hpp"
#include "wire/messages.hpp"
#include "wire/wire_errc.hpp"

namespace diskdump {

class payload_reader {
 public:
  payload_reader(message_kind kind, byte_view payload) : kind_(kind), rest_(payload) {}

  template <std::unsigned_integral Int>
  [[nodiscard]] Int integer() {
    return load_le<Int>(bytes(sizeof(Int)).data());
  }

  // A number of an enumeration whose values are 0 or `first` to `last` without gaps.
  template <class Enum>
  [[nodiscard]] Enum enumerator(Enum first, Enum last, std::string_view what) {
    using number = std::underlying_type_t<Enum>;
    auto const value = integer<number>();
    if (value < static_cast<number>(first) || value > static_cast<number>(last)) {
      refuse(format("{} {}", what, value));
    }
    return static_cast<Enum>(value);
  }

  [[nodiscard]] byte_view bytes(std::size_t count) {
    if (count > rest_.size()) refuse("cut off");
    auto const taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }

  [[nodiscard]] block_id id() {
    block_id value;
    auto const from = bytes(block_id::size_bytes);
    std::copy(from.begin(), from.end(), value.bytes.begin());
    return value;
  }

  [[nodiscard]] std::string text(std::size_t bytes_max, std::string_view what) {
    auto const length = integer<std::uint16_t>();
    if (length > bytes_max) refuse(format("{} of {} bytes", what, length));
    return std::string(as_text(bytes(length)));
  }

  // Flags that no one has given a meaning yet must be zero, so that they can get one.
  [[nodiscard]] std::uint8_t flags(std::uint8_t known) {
    auto const value = integer<std::uint8_t>();
    if ((value & ~known) != 0) refuse(format("unknown flags {:#x}", value));
    return value;
  }

  void finish() const {
    if (!rest_.empty()) refuse(format("{} bytes too many", rest_.size()));
  }

  [[noreturn]] void refuse(std::string_view cause) const {
    throw error(wire_errc::malformed, severity::corruption)
        .cause(format("{}: {}", to_string(kind_), cause));
  }

 private:
  message_kind kind_;
  byte_view rest_;
};

// Writes a frame: the header with a length that is filled in when the writer goes.
class frame_writer {
 public:
  frame_writer(byte_vector& to, message_kind kind) : to_(to), start_(to.size()) {
    integer(std::uint32_t{0});
    integer(static_cast<std::uint8_t>(kind));
  }
  ~frame_writer() {
    auto const payload_bytes = to_.size() - start_ - limits::frame_header_bytes;
    store_le(to_.data() + start_, static_cast<std::uint32_t>(payload_bytes));
  }
  frame_writer(frame_writer const&) = delete;
  frame_writer& operator=(frame_writer const&) = delete;

  template <std::unsigned_integral Int>
  void integer(Int value) {
    append_le(to_, value);
  }
  template <class Enum>
    requires std::is_enum_v<Enum>
  void enumerator(Enum value) {
    append_le(to_, static_cast<std::underlying_type_t<Enum>>(value));
  }
  void bytes(byte_view value) { append_bytes(to_, value); }
  // What a text has above its bound is cut: it is for a person to read.
  void text(std::string_view value, std::size_t bytes_max) {
    auto const cut = value.substr(0, bytes_max);
    append_le(to_, static_cast<std::uint16_t>(cut.size()));
    append_bytes(to_, as_bytes(cut));
  }

 private:
  byte_vector& to_;
  std::size_t start_;
};

}  // namespace diskdump
