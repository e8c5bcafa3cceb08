// Base64 as RFC 4648 has it: SSH keys in files, the lists that a manifest names. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace diskdump {

[[nodiscard]] std::string base64_encode(byte_view bytes);
// With or without padding; nullopt for anything that is not base64.
[[nodiscard]] std::optional<byte_vector> base64_decode(std::string_view text);

}  // namespace diskdump
