// The agents that `diskdump` carries along: the native one as a whole ELF file, and the Python
// script for targets where that cannot run. The bytes are part of this program's read-only data;
// the digest was computed when it was built. Any thread.
#pragma once

#include "transport/deploy.hpp"

namespace diskdump {

[[nodiscard]] agent_images embedded_agents() noexcept;

}  // namespace diskdump
