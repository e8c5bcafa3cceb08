// OpenSSH's known_hosts files: which keys a host may show. Reading and judging are pure functions
// of the files' text; any thread.
//
// Understood: several names per line, `*` and `?`, `!` to exclude, `[host]:port`, hashed names,
// `@revoked`. Lines with `@cert-authority` are passed over: libssh2 checks no certificates.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "transport/public_key.hpp"

namespace diskdump {

struct known_host {
  public_key key;
  std::string file;
  std::size_t line = 0;
  bool revoked = false;
};

// "host", or "[host]:port" where the port is not 22: how known_hosts names it.
[[nodiscard]] std::string known_hosts_name(std::string_view host, std::uint16_t port);

// The lines of one file's text that speak of `name`. Lines that do not parse are passed over, as
// ssh does.
[[nodiscard]] std::vector<known_host> find_known_hosts(std::string_view text,
                                                       std::string const& file,
                                                       std::string_view name);

// The lines of all files that speak of `name`; files that do not exist are empty. Blocking.
[[nodiscard]] std::vector<known_host> read_known_hosts(std::vector<std::string> const& files,
                                                       std::string_view name);

enum class host_key_verdict : std::uint8_t { known, unknown, changed, revoked };

struct host_key_judgement {
  host_key_verdict verdict = host_key_verdict::unknown;
  std::optional<known_host> entry;  // the line that decided
};

// A key of another type than those known is `changed`, not `unknown`: whoever stands in between
// could otherwise avoid the comparison by showing one.
[[nodiscard]] host_key_judgement judge_host_key(std::vector<known_host> const& known,
                                                public_key const& shown);

// Appends the line to the file, which is made with mode 0600, its folder with 0700. Blocking;
// throws `error` with the path.
void append_known_host(std::string const& file, std::string_view name, public_key const& key);

}  // namespace diskdump
