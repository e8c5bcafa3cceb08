// A checksum that finds accidents, not attacks, far faster than a digest: XXH3, 64 bits, seed 0
// (xxHash's specification, doc/xxhash_spec.md of its sources). Pure; any thread.
#pragma once

#include <cstdint>

#include "base/bytes.hpp"

namespace diskdump {

[[nodiscard]] std::uint64_t checksum64(byte_view bytes) noexcept;

}  // namespace diskdump
