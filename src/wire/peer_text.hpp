// What the other end says, made fit for an error or an event; private to this folder.
#pragma once

#include "base/error.hpp"
#include "wire/messages.hpp"
#include "wire/wire_errc.hpp"

namespace diskdump {

// aborted_by_peer with the code, text, errno and offset of `m` as cause.
[[nodiscard]] error aborted_error(abort_message const& m);

// A breach of the protocol, severity corruption.
[[noreturn]] void refuse_peer(wire_errc code, std::string_view cause);

}  // namespace diskdump
