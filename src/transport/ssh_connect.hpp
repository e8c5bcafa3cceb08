// A connection by libssh2, from resolved settings to an authenticated host. Called on the event
// loop's thread; resumes there.
#pragma once

#include <memory>
#include <string>

#include "transport/connect.hpp"
#include "transport/ssh_config.hpp"
#include "transport/ssh_session.hpp"

namespace diskdump {

// libssh2 cannot do what this connection needs, and OpenSSH may: `reason` says what that is,
// `failure` is the error where there is no other way.
struct libssh2_unsuitable {
  std::string reason;
  error failure;
};

// Completes with an authenticated host. Throws `error`, or libssh2_unsuitable. Cancelled: the
// socket is closed.
[[nodiscard]] task<std::unique_ptr<remote_host>> connect_libssh2(connect_context context,
                                                                 ssh_settings settings,
                                                                 ssh_options options);

// Completes when the server has accepted the user. Keys of the agent first, then key files, then
// what a person at the terminal knows. Where OpenSSH could use a key that libssh2 cannot, and
// `fallback` allows, throws libssh2_unsuitable before it asks anyone for a password.
[[nodiscard]] task<> authenticate(std::shared_ptr<ssh_session> session, ssh_settings settings,
                                  bool fallback);

}  // namespace diskdump
