// SSH public keys as they stand in known_hosts, .pub files and agents. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "codec/base64.hpp"

namespace diskdump {

struct public_key {
  std::string type;  // "ssh-ed25519"
  byte_vector blob;  // base64 of it stands in files

  friend bool operator==(public_key const&, public_key const&) = default;
};

// The type that a blob names in its first string; empty where it is none.
[[nodiscard]] std::string key_type_of(byte_view blob);

[[nodiscard]] public_key key_of(byte_view blob);

// "SHA256:…" as `ssh-keygen -l` prints it.
[[nodiscard]] std::string fingerprint(byte_view blob);

}  // namespace diskdump
