// What every transport must do, whichever way it reaches the machine. Run against each by its own
// test file; `host` starts commands with a POSIX shell.
#pragma once

#include <cstddef>

#include "test_context.hpp"
#include "transport/stream.hpp"

namespace diskdump::test {

// How much is sent each way where a transfer is tested. Sanitizers slow it down by a factor of ten.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DISKDUMP_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DISKDUMP_SANITIZED 1
#endif
#endif
#ifdef DISKDUMP_SANITIZED
constexpr std::size_t transfer_bytes = 8'000'000;
#else
constexpr std::size_t transfer_bytes = 64 * 1024 * 1024;
#endif

struct conformance_options {
  std::size_t bytes = transfer_bytes;
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
