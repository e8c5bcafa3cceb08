// A remote_host over one ssh_session: each stream is a channel of it. All calls come from the event
// loop's thread.
#pragma once

#include <memory>
#include <string>

#include "transport/ssh_session.hpp"
#include "transport/stream.hpp"

namespace diskdump {

// `session` is authenticated.
[[nodiscard]] std::unique_ptr<remote_host> make_ssh_host(std::shared_ptr<ssh_session> session);

}  // namespace diskdump
