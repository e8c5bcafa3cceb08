// HMAC-SHA1, for the hashed host names of OpenSSH's known_hosts files and nothing else. Pure; any
// thread.
#pragma once

#include <array>

#include "base/bytes.hpp"

namespace diskdump {

[[nodiscard]] std::array<std::byte, 20> hmac_sha1(byte_view key, byte_view message);

}  // namespace diskdump
