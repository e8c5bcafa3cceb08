// What can be wrong with what the other end says. All of these end the target, never the process.
#pragma once

#include "base/error.hpp"

namespace diskdump {

enum class wire_errc {
  no_hello = 1,        // too much noise, or the stream ended, before HELLO
  version_mismatch,    // HELLO of a protocol version we do not speak
  frame_too_long,      // a length above the bound for its kind
  unknown_kind,        // a kind number this side does not accept
  malformed,           // a payload that does not parse to its last byte
  out_of_order,        // a message that the exchange does not allow now
  index_out_of_range,  // a block index or run outside the image, or not the next one
  window_exceeded,     // more blocks unanswered than the batch has slots
  not_asked_for,       // a block that was not needed, or came before
  too_much_talk,       // more notes or bad ranges than the limits allow
  early_end,           // END, or the end of the stream, before everything was sent
  totals_differ,       // END's counts or digest differ from what was announced
  digest_mismatch,     // a block whose content does not have the announced digest
  aborted_by_peer,     // ABORT
};
[[nodiscard]] std::string_view sentence(wire_errc e) noexcept;
[[nodiscard]] inline char const* module_name(wire_errc) noexcept { return "wire"; }

}  // namespace diskdump
