// How a command on a target becomes root's, where that takes the user's password.
//
// The password goes over stdin only, to the `sudo -S` that stands in front of the command. Whether
// sudo asks for it cannot be known before (NOPASSWD, a password that it remembers), so the command
// behind it is a loop that throws lines away until one says go; what sudo did not take of stdin
// never reaches the program. sudo would ask again for a password that is wrong, and an account may
// be locked after some: so each machine is asked once, by a command that has nothing else on stdin.
//
// All calls come from the event loop's thread.
#pragma once

#include <exception>
#include <map>
#include <string>
#include <string_view>

#include "async/wait_list.hpp"
#include "base/bytes.hpp"
#include "transport/stream.hpp"

namespace diskdump {

enum class sudo_use : unsigned char { none, without_password, with_password };

class sudo_password {
 public:
  // `password` is what a person typed: no line end in it. It is wiped when the object goes.
  sudo_password(asio::any_io_executor executor, std::string password);
  ~sudo_password();
  sudo_password(sudo_password const&) = delete;
  sudo_password& operator=(sudo_password const&) = delete;

  // Completes when sudo on `host` has taken the password or wants none, resuming on the executor.
  // `machine` names the login there (user, host, port): one that has answered is not asked again.
  // Throws sudo_refused (permanent), which is remembered too, or as remote_host::exec(). Any number
  // at once. Cancelled: the machine is asked by the next caller.
  [[nodiscard]] task<> verify(remote_host& host, std::string machine);

  // What goes to stdin before anything else, for a command with sudo_use::with_password.
  [[nodiscard]] std::string input(std::string_view nonce_hex) const;

 private:
  struct login {
    explicit login(asio::any_io_executor const& executor) : answered(executor) {}
    bool asking = false;
    bool accepted = false;
    std::exception_ptr refusal;
    wait_list answered;
  };
  [[nodiscard]] task<> ask(remote_host& host);

  asio::any_io_executor executor_;
  std::string password_;
  std::map<std::string, login> logins_;  // at most one for each target
};

// stderr of such a command without the prompts.
[[nodiscard]] std::string without_sudo_prompts(std::string text, std::string_view nonce_hex);

}  // namespace diskdump
