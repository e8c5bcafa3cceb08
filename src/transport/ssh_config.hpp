// What OpenSSH's configuration says about a host, asked of `ssh -G`, so that Host and Match blocks,
// includes and defaults mean here what they mean there.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.hpp"
#include "base/log.hpp"
#include "transport/connect.hpp"

namespace diskdump {

struct ssh_settings {
  std::string name;      // what the person wrote
  std::string hostname;  // what is connected to
  std::uint16_t port = 22;
  std::string user;
  std::vector<std::string> identity_files;  // in order; defaults among them may not exist
  bool identities_only = false;
  std::string identity_agent;  // a socket; empty: none
  std::vector<std::string> user_known_hosts;
  std::vector<std::string> global_known_hosts;
  std::string host_key_alias;
  std::string proxy_jump;     // empty: none
  std::string proxy_command;  // empty: none
  std::vector<std::string> certificate_files;
  std::chrono::seconds connect_timeout{};  // above zero
};

// Completes with the settings of `host`, resuming on the executor. A "[...]" around an IPv6 address
// is taken off. Throws bad_configuration with what ssh says; without `ssh` on this machine the
// defaults of OpenSSH apply, and a config file that was asked for is ssh_not_found.
[[nodiscard]] task<ssh_settings> resolve_ssh_settings(std::string host, ssh_options options);

// The settings that stand in the output of `ssh -G`; pure but for the environment and the user's
// home, which `~`, `%d` and `${NAME}` refer to. Throws bad_configuration.
[[nodiscard]] ssh_settings parse_ssh_settings(std::string_view output, std::string name);

// OpenSSH's defaults.
[[nodiscard]] ssh_settings default_ssh_settings(std::string name);

// The host without the brackets of an IPv6 address.
[[nodiscard]] std::string without_brackets(std::string_view host);

// The options of the command line as arguments of `ssh`.
[[nodiscard]] std::vector<std::string> ssh_arguments(ssh_options const& options);

}  // namespace diskdump
