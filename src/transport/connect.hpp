// From a host's name to a `remote_host`: the user's ssh configuration, the choice of transport,
// host keys and authentication. Called on the event loop's thread; resumes there.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/offload.hpp"
#include "async/timer.hpp"
#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "transport/stream.hpp"

namespace diskdump {

enum class transport_errc {
  unknown_host = 1,    // the name does not resolve
  cannot_connect,      // refused, unreachable, timed out
  connection_lost,     // established, then gone
  negotiation_failed,  // no common algorithm, or not an SSH server
  host_key_unknown,    // not in known_hosts
  host_key_changed,    // another key stands in known_hosts
  authentication_failed,
  cannot_exec,          // the server refused the command
  no_more_sessions,     // it refused another session on this connection
  no_place_for_agent,   // no directory on the target may hold and execute the agent
  agent_did_not_start,  // sudo refused, or the program ended before HELLO
  transfer_failed,      // the upload did not arrive whole
  ssh_not_found,        // no `ssh` program for the openssh transport
  sudo_refused,         // sudo did not take the password that was given
  bad_configuration,    // ssh_config, identity file or option that cannot be used
};
[[nodiscard]] std::string_view sentence(transport_errc e) noexcept;
[[nodiscard]] inline char const* module_name(transport_errc) noexcept { return "transport"; }

enum class transport_choice : std::uint8_t { automatic, libssh2, openssh };

// What the command line said about SSH; what it left open comes from the user's ssh_config through
// `ssh -G`, else from OpenSSH's defaults.
struct ssh_options {
  std::optional<std::string> user;
  std::optional<std::uint16_t> port;
  std::vector<std::string> identity_files;
  std::optional<std::string> config_file;  // -F; "none" as in ssh
  transport_choice transport = transport_choice::automatic;
  bool accept_new_host_keys = false;
};

// Asks a person on the controlling terminal, never on stdin. Blocking; made on the blocking
// threads, several at a time: an implementation asks one question after the other.
class secret_prompt {
 public:
  virtual ~secret_prompt() = default;
  // nullopt where there is no terminal or the person declined, and where `wanted` has become false
  // before the question's turn came: nobody is asked what nobody wants to know any more.
  [[nodiscard]] virtual std::optional<std::string> ask(std::string_view question,
                                                       std::atomic<bool> const& wanted) = 0;
};

// Opens /dev/tty, echo off, restores it whatever happens. One question at a time in the process.
class terminal_prompt final : public secret_prompt {
 public:
  [[nodiscard]] std::optional<std::string> ask(std::string_view question,
                                               std::atomic<bool> const& wanted) override;

  // Gives the terminal its echo back while a question is being asked; for a process that ends
  // without unwinding. Any thread.
  static void restore_echo() noexcept;
};

class passphrase_book;

// Who wants a connection bounds how many are being made at once, and a person takes longer than all
// of them: he is asked outside of that. Called on the event loop's thread.
class login_place {
 public:
  virtual ~login_place() = default;
  // A person is about to be asked, if he has not been by this connection. Throws
  // questions_taken where others are before him.
  virtual void question_comes() = 0;
};
// Connect again when a question has been answered. Nothing failed.
struct questions_taken {};

// What a connection works with; all outlive it.
struct connect_context {
  asio::any_io_executor executor;  // the event loop
  worker_pool& workers;            // CPU: the strand of each libssh2 session
  worker_pool& blocking;           // name resolution, key files, ssh-agent, prompts
  timer_source& timers;
  log_sink& log;
  secret_prompt& prompt;
  passphrase_book& passphrases;  // of all connections
  // How often an idle connection by libssh2 is asked for a sign of life.
  std::chrono::milliseconds alive_interval = limits::alive_interval;
  login_place* place = nullptr;  // none: questions are asked as they come
};

// Completes with an authenticated connection. Throws `error` with the host, cause and remedy:
// unknown and changed host keys show the fingerprint (SHA256:…) and the command that cures it.
// Cancellation closes the socket. Throws questions_taken as `context.place` does.
[[nodiscard]] task<std::unique_ptr<remote_host>> connect_ssh(connect_context context,
                                                             std::string host, ssh_options options);

// This machine, without SSH: commands are children of this process.
[[nodiscard]] std::unique_ptr<remote_host> open_local_host(connect_context context);

}  // namespace diskdump
