#include "wire/wire_errc.hpp"

namespace diskdump {

std::string_view sentence(wire_errc e) noexcept {
  switch (e) {
    case wire_errc::no_hello:
      return "the agent did not report";
    case wire_errc::version_mismatch:
      return "the agent speaks another protocol version";
    case wire_errc::frame_too_long:
      return "a frame is longer than its kind allows";
    case wire_errc::unknown_kind:
      return "a frame is of a kind that may not come from there";
    case wire_errc::malformed:
      return "a message does not parse";
    case wire_errc::out_of_order:
      return "a message came that the exchange does not allow now";
    case wire_errc::index_out_of_range:
      return "a block index or range is not within the image or not the next one";
    case wire_errc::window_exceeded:
      return "more blocks are announced than the batch has slots";
    case wire_errc::not_asked_for:
      return "a block or an answer came that was not asked for";
    case wire_errc::too_much_talk:
      return "more notes or bad ranges came than are allowed";
    case wire_errc::early_end:
      return "the transfer ended before everything was sent";
    case wire_errc::totals_differ:
      return "the totals at the end differ from what was announced";
    case wire_errc::digest_mismatch:
      return "a block's content does not have the announced digest";
    case wire_errc::aborted_by_peer:
      return "the other end gave up";
  }
  return "unknown protocol error";
}

}  // namespace diskdump
