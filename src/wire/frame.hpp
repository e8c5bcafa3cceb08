// Frames: u32 length of the payload, u8 kind, payload; little-endian. The decoder is fed bytes as
// they come, in pieces of any size, and never holds more than one frame. Owned by one session;
// no thread of its own.
#pragma once

#include <cstddef>
#include <optional>
#include <variant>

#include "base/bytes.hpp"
#include "wire/messages.hpp"
#include "wire/wire_errc.hpp"

namespace diskdump {

enum class wire_side : std::uint8_t { server, agent };

// Decodes what `wire_side` receives. A length is checked against the bound of its kind before
// anything is allocated. A BLOCK is reported twice: when its header is there, so that the caller
// can take memory for it, and when its payload is complete.
class frame_decoder {
 public:
  explicit frame_decoder(wire_side receiver) : receiver_(receiver) {}

  struct block_announced {
    block_header header;
    std::size_t payload_bytes = 0;
  };
  struct frame {
    message_kind kind{};
    byte_vector payload;  // without the block header for a BLOCK
    block_header header;  // BLOCK only
  };
  using event = std::variant<block_announced, frame>;

  // Blocks of an image are at most this long; BLOCK frames are refused before it is set.
  void set_block_bytes(std::uint32_t block_bytes) noexcept { block_bytes_ = block_bytes; }

  // Takes bytes off the front of `input` until an event is complete or `input` is empty. Throws
  // wire_errc::frame_too_long, unknown_kind, malformed, and out_of_order for a BLOCK that is too
  // early; the decoder is useless afterwards. Memory for a BLOCK's payload is taken by the call
  // after the one that returned block_announced.
  [[nodiscard]] std::optional<event> feed(byte_view& input);

  // Whether the stream may end here: not inside a frame.
  [[nodiscard]] bool at_boundary() const noexcept;

 private:
  enum class stage : std::uint8_t { header, block_header, payload };
  void on_header();
  [[nodiscard]] block_announced on_block_header();
  bool fill(byte_view& input, std::size_t wanted_bytes);

  wire_side receiver_;
  std::uint32_t block_bytes_ = 0;
  stage stage_ = stage::header;
  message_kind kind_{};
  std::size_t payload_wanted_bytes_ = 0;
  block_header block_header_;
  byte_vector partial_;
};

// Finds HELLO behind login noise: the first occurrence of the nonce that has the header of a HELLO
// in front of it. Holds at most login_noise_bytes_max and that header and nonce.
class hello_scanner {
 public:
  explicit hello_scanner(session_nonce const& nonce) : nonce_(nonce) {}

  // Takes bytes off the front of `input`; true once a HELLO's header and nonce were found, which
  // are then in found(), and what follows them is left in `input`. Throws no_hello when the noise
  // exceeds its bound.
  [[nodiscard]] bool feed(byte_view& input);
  // The frame header of HELLO and the nonce.
  [[nodiscard]] byte_view found() const noexcept;
  // What came before; everything so far while nothing was found.
  [[nodiscard]] byte_view noise() const noexcept;

 private:
  [[nodiscard]] bool is_hello_at(std::size_t nonce_at) const noexcept;

  session_nonce nonce_;
  byte_vector held_;
  std::optional<std::size_t> start_;
};

// no_hello, with the end of the noise as cause: what a login shell said is most likely the reason.
[[nodiscard]] error no_hello_error(std::string_view what, byte_view noise);

}  // namespace diskdump
