// A real sshd of the test's own: configuration, host keys, user keys and port, in a temporary
// folder, as the user who runs the test. Killed by pid in the destructor.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "transport/connect.hpp"

namespace diskdump::test {

// A folder that goes with the object.
class scratch_folder {
 public:
  scratch_folder();
  ~scratch_folder();
  scratch_folder(scratch_folder const&) = delete;
  scratch_folder& operator=(scratch_folder const&) = delete;
  [[nodiscard]] std::string path(std::string_view name = "") const;
  void write(std::string_view name, std::string_view text, unsigned mode = 0600) const;
  [[nodiscard]] std::string read(std::string_view name) const;

 private:
  std::filesystem::path folder_;
};

// Runs a program to its end; throws std::runtime_error with its output where it fails.
std::string run_or_throw(std::vector<std::string> const& argv);

class sshd_fixture {
 public:
  // `extra` is appended to sshd_config. Throws std::runtime_error where there is no sshd: the
  // transport's tests mean nothing without one.
  explicit sshd_fixture(std::string_view extra = "");
  ~sshd_fixture();
  sshd_fixture(sshd_fixture const&) = delete;
  sshd_fixture& operator=(sshd_fixture const&) = delete;

  // Options by which the server is reached, with a configuration file that knows its key.
  [[nodiscard]] ssh_options options(transport_choice transport = transport_choice::libssh2) const;
  static constexpr char const* host = "127.0.0.1";
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] scratch_folder const& folder() const noexcept { return folder_; }

  // The client's configuration; `text` comes first, so that it wins.
  void configure_client(std::string_view text) const;
  // The line of known_hosts for a host key of this fixture.
  [[nodiscard]] std::string known_hosts_line(std::string_view key_file = "host_ed25519") const;

  // Kills the processes that serve connections; the listener goes on.
  void kill_sessions() const;
  // Stops them as they are: the connection stands, and nobody answers. They go on with SIGKILL
  // only.
  void freeze_sessions() const;
  [[nodiscard]] std::string log();

 private:
  void start();
  void signal_sessions(int number) const;

  scratch_folder folder_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
  int errors_fd_ = -1;
  std::thread reader_;
  std::mutex mutex_;
  std::string log_;
};

}  // namespace diskdump::test
