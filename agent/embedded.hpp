// The agents that `diskdump` carries along: the native one as a whole ELF file, and the Python
// script for targets where that cannot run. The bytes are part of this program's read-only data.
// Any thread.
#pragma once

#include <span>
#include <string_view>

#include "base/bytes.hpp"
#include "codec/block_id.hpp"

namespace diskdump {

struct embedded_binary {
  std::string_view machine;  // as `uname -m` prints it: "x86_64"
  byte_view content;
  block_id digest;  // SHA-256 of content, computed when it was built
};

struct embedded_agent_set {
  std::span<embedded_binary const> native;
  std::string_view fallback_script;  // Python 3.6 or later, standard library only
};

[[nodiscard]] embedded_agent_set embedded_agents() noexcept;

}  // namespace diskdump
