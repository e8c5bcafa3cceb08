// What can be told of a private key file without its passphrase. Blocking; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "transport/public_key.hpp"

namespace diskdump {

struct identity_file {
  std::string path;
  // Why it cannot be used: "No such file or directory", "can be read by others (mode 0644)". Empty
  // where it can.
  std::string unusable;
  bool exists = false;
  bool encrypted = false;
  bool certificate = false;       // PATH-cert.pub stands beside it
  std::optional<public_key> key;  // from the file itself, else from PATH.pub
};

[[nodiscard]] identity_file inspect_identity_file(std::string path);

// The public key and whether a passphrase is needed, from the text of a private key.
struct private_key_info {
  bool recognised = false;
  bool encrypted = false;
  std::optional<public_key> key;
};
[[nodiscard]] private_key_info inspect_private_key(std::string_view text);

// "sk-ssh-ed25519@openssh.com" and the like: they need the hardware at hand.
[[nodiscard]] inline bool is_hardware_key(std::string_view type) {
  return type.starts_with("sk-") || type.starts_with("webauthn-sk-");
}
[[nodiscard]] inline bool is_certificate_type(std::string_view type) {
  return type.find("-cert-v0") != std::string_view::npos;
}

}  // namespace diskdump
