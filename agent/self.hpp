// What the agent knows about itself: its own file's digest and the machine it was built for.
#pragma once

#include "codec/block_id.hpp"
#include "wire/messages.hpp"

namespace diskdump {

// SHA-256 of the running program's file. Throws `error` where /proc is not mounted.
[[nodiscard]] block_id self_digest();

[[nodiscard]] constexpr machine_architecture own_architecture() noexcept {
#if defined(__x86_64__)
  return machine_architecture::x86_64;
#elif defined(__aarch64__)
  return machine_architecture::aarch64;
#else
  return machine_architecture::unknown;
#endif
}

}  // namespace diskdump
