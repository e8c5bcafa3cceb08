// The shell commands of the deployment, and what their answers mean. No I/O.
//
// A command goes through the login shell of a user we know nothing about: sh, bash, csh, fish. It
// is therefore one line, `exec sh -c '…'`, whose text has no single quote, backslash, exclamation
// mark or line end in it, and into which only hex digits and numbers are put. Paths of the target
// never come back into a command: a directory is named by its place in the list of candidates.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codec/block_id.hpp"
#include "transport/sudo.hpp"

namespace diskdump {

// A file that was just uploaded and is to be checked and given its name.
struct uploaded_agent {
  unsigned directory = 0;  // its place in the list of candidates
  std::string random_hex;  // it is called <random_hex>.tmp there
  std::size_t size_bytes = 0;
};

// Installs `uploaded` if given, then starts the agent with this digest from the first directory
// that has it and may execute; else reports which directories could be used.
[[nodiscard]] std::string launch_command(block_id const& digest, std::string_view nonce_hex,
                                         sudo_use sudo,
                                         std::optional<uploaded_agent> const& uploaded);

// Writes stdin to the new file <random_hex>.tmp in a directory, for hosts without file transfer.
[[nodiscard]] std::string receive_command(std::string_view nonce_hex,
                                          uploaded_agent const& uploaded);

// Starts Python, which reads `script_bytes` of program text from stdin and runs it.
[[nodiscard]] std::string python_command(std::string_view nonce_hex, sudo_use sudo,
                                         std::size_t script_bytes);

// Becomes root and reports `received`, with sudo's password as the only line of stdin. What sudo
// remembers does not count.
[[nodiscard]] std::string sudo_check_command(std::string_view nonce_hex);

// Runs the script that comes over stdin with `sh`.
[[nodiscard]] std::string script_command(std::string_view nonce_hex, sudo_use sudo);

// What the commands print: lines that begin with this, after whatever the login scripts print.
[[nodiscard]] std::string report_mark(std::string_view nonce_hex);

struct usable_directory {
  unsigned number = 0;
  std::string path;
};

struct launch_report {
  bool running = false;   // the agent was started; what follows is its own output
  bool received = false;  // receive_command: all of stdin was written
  std::string location;   // running: where it lies
  std::string machine;    // `uname -m`
  bool has_python = false;
  std::vector<usable_directory> usable;
  std::vector<std::string> refused;  // "/tmp/diskdump-0: …", for the error
};

// Reads the report as it comes in.
class report_parser {
 public:
  explicit report_parser(std::string_view nonce_hex) : mark_(report_mark(nonce_hex)) {}

  // Takes what was read; true when the report is whole. `rest()` is then what came behind it.
  // Throws agent_did_not_start where there is more noise than the limits allow.
  [[nodiscard]] bool feed(byte_view bytes);
  [[nodiscard]] launch_report const& report() const noexcept { return report_; }
  [[nodiscard]] byte_view rest() const noexcept { return byte_view(held_); }
  // What came so far and was no report, made printable, for an error.
  [[nodiscard]] std::string noise() const;

 private:
  // True when this line ends the report.
  bool on_line(std::string_view line);

  std::string mark_;
  byte_vector held_;
  std::string noise_;
  std::size_t taken_bytes_ = 0;
  launch_report report_;
};

}  // namespace diskdump
