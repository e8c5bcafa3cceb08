// One dump from the agent's side. This is the file to begin with: serve.cpp reads from top to
// bottom like the picture in DESIGN.
#pragma once

#include "wire/messages.hpp"

namespace diskdump {

// Serves one dump over stdin and stdout and returns the exit status. The process is its own: it
// changes signals, limits and descriptors, and ends at once when the server goes away.
[[nodiscard]] int serve(session_nonce const& nonce);

}  // namespace diskdump
