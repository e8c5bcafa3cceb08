// SHA-256 of several contents side by side on one core. The instructions of x86 for it (SHA-NI)
// take longer to give a result than to start the next, so contents that do not depend on each other
// go through in the shade of each other: four in little more than the time of two. Internal to
// src/codec; callers use sha256_each() of digest.hpp. Pure functions; any thread.
//
// The format is FIPS 180-4; the order of the state's words that the instructions want is in Intel's
// "Intel SHA Extensions" (July 2013).
#pragma once

#include <cstddef>
#include <span>

#include "base/bytes.hpp"
#include "codec/block_id.hpp"

namespace diskdump {

// Contents that go through side by side.
inline constexpr std::size_t sha256_lanes_max = 4;

// Whether this processor, and the system, can.
[[nodiscard]] bool has_sha256_lanes() noexcept;

// The digests of these contents, of any lengths, in their order; fastest where the lengths are
// about the same. REQUIRES: has_sha256_lanes(); 1 to sha256_lanes_max contents, and as many ids.
void sha256_side_by_side(std::span<byte_view const> contents, std::span<block_id> ids) noexcept;

}  // namespace diskdump
