// Puts the agent on a target and starts it (DESIGN: nothing has to be installed there). The first
// run uploads the binary that fits the target into a directory that only the user can write; later
// runs find it there and upload nothing. Where nothing may be executed, or no binary fits, the
// Python agent is fed over stdin.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "async/timer.hpp"
#include "base/bytes.hpp"
#include "base/log.hpp"
#include "codec/block_id.hpp"
#include "transport/stream.hpp"
#include "transport/sudo.hpp"

namespace diskdump {

// One native agent that this program carries.
struct agent_binary {
  std::string_view machine;  // as `uname -m` prints it: "x86_64"
  byte_view content;
  block_id digest;
};
struct agent_images {
  std::span<agent_binary const> native;
  std::string_view fallback_script;  // Python 3, standard library only
};

enum class agent_choice : std::uint8_t { automatic, native, python };

struct agent_launch {
  agent_choice agent = agent_choice::automatic;
  bool sudo = false;                  // `sudo -n`, or with the password:
  sudo_password* password = nullptr;  // outlives the launch
  std::string machine{};              // the login there: see sudo_password::verify()
  std::string nonce_hex;              // the agent's only argument after "serve"
  std::size_t window_bytes = 0;
};

struct launched_agent {
  std::unique_ptr<stream> io;  // HELLO comes first, maybe after login noise
  bool python = false;
  bool uploaded = false;
  std::string location;  // path on the target, or "python3 on stdin"
};

// Completes with the started agent's stdin and stdout. Throws no_place_for_agent,
// agent_did_not_start, transfer_failed, sudo_refused, with what the target said. `host` outlives
// the stream.
[[nodiscard]] task<launched_agent> launch_agent(remote_host& host, agent_images images,
                                                agent_launch launch, log_sink& log);

}  // namespace diskdump
