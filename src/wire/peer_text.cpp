#include "wire/peer_text.hpp"

#include <system_error>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"

namespace diskdump {

namespace {

// Linux has no errno above this; a larger one is shown as a number without words.
constexpr std::uint32_t errno_value_max = 4095;
constexpr std::uint64_t no_offset = ~std::uint64_t{0};

}  // namespace

error aborted_error(abort_message const& m) {
  std::string cause(to_string(m.code));
  if (!m.text.empty()) cause += ": " + printable(m.text, limits::note_bytes_max);
  if (m.errno_value != 0) {
    cause += format(": errno {}", m.errno_value);
    if (m.errno_value <= errno_value_max) {
      cause += " " + std::generic_category().message(static_cast<int>(m.errno_value));
    }
  }
  auto const kind = m.code == abort_code::cancelled ? severity::transient : severity::permanent;
  auto failure = error(wire_errc::aborted_by_peer, kind).cause(cause);
  if (m.offset_bytes != no_offset) failure.offset(m.offset_bytes);
  return failure;
}

void refuse_peer(wire_errc code, std::string_view cause) {
  throw error(code, severity::corruption).cause(cause);
}

}  // namespace diskdump
