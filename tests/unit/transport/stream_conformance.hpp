// What every transport must do, whichever way it reaches the machine. Run against each by its own
// test file; `host` starts commands with a POSIX shell.
#pragma once

#include <cstddef>

#include "test_context.hpp"
#include "transport/stream.hpp"

namespace diskdump::test {

// How much is sent each way where a transfer is tested.
struct conformance_options {
  std::size_t transfer_bytes = 64 * 1024 * 1024;
};

// Bytes that no transport can guess, the same for the same seed.
[[nodiscard]] byte_vector noise_bytes(std::size_t size, std::uint64_t seed);

// Reads to the end of the stream.
[[nodiscard]] task<byte_vector> read_all(stream& from);
// Reads exactly `size` bytes; throws std::runtime_error where the stream ends before.
[[nodiscard]] task<byte_vector> read_exactly(stream& from, std::size_t size);

// Runs a command to its end without input.
struct command_outcome {
  std::string output;
  exit_report report;
};
[[nodiscard]] task<command_outcome> run_command(remote_host& host, std::string command);

void check_stream_conformance(test_context& test, remote_host& host, conformance_options options);

}  // namespace diskdump::test
