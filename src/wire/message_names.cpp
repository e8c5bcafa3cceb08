// Words for the enumerations of the protocol, and the nonce as text.
#include "base/format.hpp"
#include "wire/messages.hpp"

namespace diskdump {

namespace {

std::optional<unsigned> hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  return std::nullopt;
}

}  // namespace

std::string nonce_hex(session_nonce const& nonce) {
  std::string out;
  for (auto const b : nonce) out += format("{:02x}", std::to_integer<unsigned>(b));
  return out;
}

std::optional<session_nonce> nonce_from_hex(std::string_view text) noexcept {
  session_nonce nonce{};
  if (text.size() != 2 * nonce.size()) return std::nullopt;
  for (std::size_t i = 0; i < nonce.size(); ++i) {
    auto const high = hex_value(text[2 * i]);
    auto const low = hex_value(text[2 * i + 1]);
    if (!high || !low) return std::nullopt;
    nonce[i] = static_cast<std::byte>(*high << 4 | *low);
  }
  return nonce;
}

std::string_view to_string(read_engine e) noexcept {
  switch (e) {
    case read_engine::uring:
      return "io_uring";
    case read_engine::posix:
      return "pread";
    case read_engine::python:
      return "python";
  }
  return "unknown";
}

std::string_view to_string(message_kind k) noexcept {
  switch (k) {
    case message_kind::hello:
      return "HELLO";
    case message_kind::source:
      return "SOURCE";
    case message_kind::digests:
      return "DIGESTS";
    case message_kind::block:
      return "BLOCK";
    case message_kind::note:
      return "NOTE";
    case message_kind::end:
      return "END";
    case message_kind::abort:
      return "ABORT";
    case message_kind::bad_range:
      return "BAD_RANGE";
    case message_kind::start:
      return "START";
    case message_kind::answer:
      return "ANSWER";
    case message_kind::settle:
      return "SETTLE";
    case message_kind::codec:
      return "CODEC";
    case message_kind::done:
      return "DONE";
    case message_kind::limit:
      return "LIMIT";
    case message_kind::expect:
      return "EXPECT";
  }
  return "unknown message";
}

std::string_view to_string(abort_code c) noexcept {
  switch (c) {
    case abort_code::internal:
      return "internal failure";
    case abort_code::cannot_open:
      return "cannot open the source";
    case abort_code::read_failed:
      return "cannot read the source";
    case abort_code::source_shrank:
      return "the source shrank";
    case abort_code::protocol:
      return "breach of the protocol";
    case abort_code::cancelled:
      return "cancelled";
  }
  return "unknown reason";
}

}  // namespace diskdump
