// What ends a dump on the agent's side, and how it is told to the server.
#pragma once

#include <exception>
#include <string_view>

#include "base/error.hpp"
#include "wire/messages.hpp"

namespace diskdump {

enum class agent_errc {
  read_failed = 1,  // the source cannot be read; offset and cause say where and why
  bad_sectors,      // sectors stay unreadable, and they are not to be skipped
  source_shrank,    // the source ends before the size that SOURCE told
  bad_descriptor,   // stdin or stdout is neither a pipe nor a socket
};
[[nodiscard]] std::string_view sentence(agent_errc e) noexcept;
[[nodiscard]] inline char const* module_name(agent_errc) noexcept { return "agent"; }

// The failure in the words of ABORT: code, errno and offset where they are known, and a text
// without the path, which the server knows.
[[nodiscard]] abort_message abort_for(std::exception_ptr failure);

}  // namespace diskdump
