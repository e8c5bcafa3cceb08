#include "wire/frame.hpp"

#include <algorithm>
#include <utility>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"

namespace diskdump {

namespace {

constexpr std::size_t text_length_bytes = 2;
constexpr std::size_t hello_fixed_bytes = 16 + 2 + 2 + 1 + 32;
constexpr std::size_t noise_shown_bytes_max = 400;

// The most payload of a kind; nullopt where `receiver` does not accept the kind. HELLO has room for
// what a later version may add, so that a newer agent is refused for its version.
std::optional<std::size_t> payload_bytes_max(message_kind kind, wire_side receiver) {
  constexpr std::size_t hello_bytes_max = 4 * limits::KiB;
  static_assert(hello_fixed_bytes + text_length_bytes + limits::build_bytes_max <= hello_bytes_max);
  static_assert(hello_bytes_max <= limits::control_payload_bytes_max);
  bool const to_server = receiver == wire_side::server;
  auto const from_agent = [&](std::size_t bytes) {
    return to_server ? std::optional(bytes) : std::nullopt;
  };
  auto const from_server = [&](std::size_t bytes) {
    return to_server ? std::nullopt : std::optional(bytes);
  };
  switch (kind) {
    case message_kind::hello:
      return from_agent(hello_bytes_max);
    case message_kind::source:
      return from_agent(8 + 1 + 1 + 4 + text_length_bytes + limits::identity_bytes_max);
    case message_kind::digests:
      return from_agent(8 + 2 + limits::digest_runs_max * (1 + block_id::size_bytes));
    case message_kind::block:
      return from_agent(limits::frame_payload_bytes_max);
    case message_kind::note:
      return from_agent(1 + text_length_bytes + limits::note_bytes_max);
    case message_kind::end:
      return from_agent(5 * 8 + block_id::size_bytes);
    case message_kind::bad_range:
      return from_agent(8 + 8);
    case message_kind::abort:
      return 2 + 4 + 8 + text_length_bytes + limits::note_bytes_max;
    case message_kind::start:
      return from_server(4 + 4 + 1 + 8 + 8 + 2 + 1 + text_length_bytes + limits::path_bytes_max);
    case message_kind::answer:
      return from_server(8 + 2 + limits::answers_max);
    case message_kind::settle:
      return from_server(8 + 1);
    case message_kind::codec:
      return from_server(1);
    case message_kind::done:
      return from_server(0);
    case message_kind::limit:
      return from_server(8);
    case message_kind::expect:
      return from_server(8 + 2 + limits::expected_ids_max * block_id::size_bytes);
  }
  return std::nullopt;
}

[[noreturn]] void refuse(wire_errc code, std::string_view cause) {
  throw error(code, severity::corruption).cause(cause);
}

}  // namespace

// ---- Decoder ------------------------------------------------------------------------------------

// Moves bytes from `input` to partial_ until it has `wanted_bytes`; whether it has.
bool frame_decoder::fill(byte_view& input, std::size_t wanted_bytes) {
  auto const count = std::min(input.size(), wanted_bytes - partial_.size());
  append_bytes(partial_, input.first(count));
  input = input.subspan(count);
  return partial_.size() == wanted_bytes;
}

void frame_decoder::on_header() {
  auto const length = load_le<std::uint32_t>(partial_.data());
  auto const number = std::to_integer<unsigned>(partial_[4]);
  kind_ = static_cast<message_kind>(number);
  auto bytes_max = payload_bytes_max(kind_, receiver_);
  if (!bytes_max) refuse(wire_errc::unknown_kind, format("kind {}", number));
  if (kind_ == message_kind::block) {
    if (block_bytes_ == 0) refuse(wire_errc::out_of_order, "BLOCK before SOURCE");
    bytes_max = limits::block_header_bytes + block_bytes_;
    if (length <= limits::block_header_bytes) refuse(wire_errc::malformed, "BLOCK: no payload");
  }
  if (length > *bytes_max) {
    refuse(wire_errc::frame_too_long,
           format("{} of {} bytes, more than {}", to_string(kind_), length, *bytes_max));
  }
  payload_wanted_bytes_ = length;
  partial_.clear();
}

frame_decoder::block_announced frame_decoder::on_block_header() {
  block_header_ = decode_block_header(partial_);
  payload_wanted_bytes_ -= limits::block_header_bytes;
  if (block_header_.raw_bytes > block_bytes_) {
    refuse(wire_errc::malformed, format("BLOCK: {} bytes in a block, more than {}",
                                        block_header_.raw_bytes, block_bytes_));
  }
  if (payload_wanted_bytes_ > block_header_.raw_bytes) {
    refuse(wire_errc::frame_too_long, format("BLOCK: {} bytes carry a block of {}",
                                             payload_wanted_bytes_, block_header_.raw_bytes));
  }
  if (block_header_.codec == block_codec::raw && payload_wanted_bytes_ != block_header_.raw_bytes) {
    refuse(wire_errc::malformed, format("BLOCK: {} raw bytes carry a block of {}",
                                        payload_wanted_bytes_, block_header_.raw_bytes));
  }
  partial_.clear();
  return {block_header_, payload_wanted_bytes_};
}

std::optional<frame_decoder::event> frame_decoder::feed(byte_view& input) {
  for (;;) {
    switch (stage_) {
      case stage::header:
        if (!fill(input, limits::frame_header_bytes)) return std::nullopt;
        on_header();
        stage_ = kind_ == message_kind::block ? stage::block_header : stage::payload;
        break;
      case stage::block_header:
        if (!fill(input, limits::block_header_bytes)) return std::nullopt;
        stage_ = stage::payload;
        return on_block_header();
      case stage::payload:
        partial_.reserve(payload_wanted_bytes_);
        if (!fill(input, payload_wanted_bytes_)) return std::nullopt;
        stage_ = stage::header;
        return frame{kind_, std::exchange(partial_, {}), block_header_};
    }
  }
}

bool frame_decoder::at_boundary() const noexcept {
  return stage_ == stage::header && partial_.empty();
}

// ---- Login noise --------------------------------------------------------------------------------

bool hello_scanner::is_hello_at(std::size_t nonce_at) const noexcept {
  if (nonce_at < limits::frame_header_bytes) return false;
  auto const* const header = held_.data() + nonce_at - limits::frame_header_bytes;
  auto const length = load_le<std::uint32_t>(header);
  return header[4] == static_cast<std::byte>(message_kind::hello) && length >= nonce_.size() &&
         length <= *payload_bytes_max(message_kind::hello, wire_side::server);
}

bool hello_scanner::feed(byte_view& input) {
  constexpr auto held_bytes_max =
      limits::login_noise_bytes_max + limits::frame_header_bytes + session_nonce{}.size();
  while (!input.empty() && !start_) {
    auto const count = std::min(input.size(), held_bytes_max - held_.size());
    // A nonce that ends in the new bytes begins at most 15 bytes before them.
    auto const overlap = std::min(held_.size(), nonce_.size() - 1);
    auto from = held_.end() - static_cast<std::ptrdiff_t>(overlap) - held_.begin();
    append_bytes(held_, input.first(count));
    for (;;) {
      auto const hit = std::search(held_.begin() + from, held_.end(), nonce_.begin(), nonce_.end());
      if (hit == held_.end()) break;
      auto const nonce_at = static_cast<std::size_t>(hit - held_.begin());
      if (is_hello_at(nonce_at)) {
        start_ = nonce_at - limits::frame_header_bytes;
        auto const unused = held_.size() - nonce_at - nonce_.size();
        held_.resize(held_.size() - unused);
        input = input.subspan(count - unused);
        return true;
      }
      from = static_cast<std::ptrdiff_t>(nonce_at) + 1;
    }
    input = input.subspan(count);
    if (held_.size() == held_bytes_max) {
      throw no_hello_error(
          format("more than {} bytes came before it", limits::login_noise_bytes_max), held_);
    }
  }
  return start_.has_value();
}

byte_view hello_scanner::found() const noexcept {
  return start_ ? byte_view(held_).subspan(*start_) : byte_view();
}

byte_view hello_scanner::noise() const noexcept {
  return start_ ? byte_view(held_).first(*start_) : byte_view(held_);
}

error no_hello_error(std::string_view what, byte_view noise) {
  auto const tail = noise.last(std::min(noise.size(), noise_shown_bytes_max));
  auto cause = std::string(what);
  if (!tail.empty()) {
    cause += format(", ending in \"{}\"", printable(as_text(tail), noise_shown_bytes_max));
  }
  return error(wire_errc::no_hello, severity::permanent).cause(cause);
}

}  // namespace diskdump
