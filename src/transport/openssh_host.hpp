// A connection by the `ssh` program of this machine, for what libssh2 cannot do: proxies,
// certificates, hardware keys, newer algorithms. Called on the event loop's thread; resumes there.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "transport/connect.hpp"

namespace diskdump {

// Completes when `ssh` is connected, authenticated and has run a command there. Throws as
// connect_ssh. Cancelled: ssh is killed. The server must have said its version within `timeout`.
[[nodiscard]] task<std::unique_ptr<remote_host>> connect_openssh(connect_context context,
                                                                 std::string name,
                                                                 ssh_options options,
                                                                 std::chrono::seconds timeout);

// What `ssh` says on stderr, as an error.
[[nodiscard]] error openssh_error(std::string const& host, std::string_view said);

}  // namespace diskdump
