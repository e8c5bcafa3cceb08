// A child of this process with pipes on its stdin, stdout and stderr. The one place that starts
// programs. All calls come from the event loop's thread.
//
// Every descriptor of ours is close-on-exec, so that no other child keeps a pipe open: when this
// process dies, however it dies, each child reads the end of its stdin, which ends the agent.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "async/task.hpp"
#include "base/bytes.hpp"

namespace diskdump {

// How a child ended.
struct child_end {
  std::optional<int> status;
  std::optional<std::string> signal;  // "KILL", "PIPE", …
};

struct child_command {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH
  // A session of its own: Ctrl-C on the terminal does not reach it, and it cannot ask there.
  bool new_session = true;
};

class child_process {
 public:
  // Starts the program. Throws `error` with errno where that fails (ENOENT: no such program).
  child_process(asio::any_io_executor const& executor, child_command command);
  // Kills the child if it still runs and reaps it, waiting at most limits::kill_wait_max.
  ~child_process();
  child_process(child_process const&) = delete;
  child_process& operator=(child_process const&) = delete;

  [[nodiscard]] asio::posix::stream_descriptor& input() noexcept { return input_; }
  [[nodiscard]] asio::posix::stream_descriptor& output() noexcept { return output_; }
  [[nodiscard]] asio::posix::stream_descriptor& errors() noexcept { return errors_; }

  // Completes when the child has ended, resuming on the executor. One wait at a time; may be
  // repeated. Cancelled: throws, the child runs on.
  [[nodiscard]] task<child_end> wait();

  // How it ended, if it has; never waits.
  [[nodiscard]] std::optional<child_end> poll();

  // SIGKILL to the child itself, if it runs.
  void kill() noexcept;

 private:
  asio::posix::stream_descriptor input_;
  asio::posix::stream_descriptor output_;
  asio::posix::stream_descriptor errors_;
  asio::posix::stream_descriptor ended_;  // pidfd: readable when the child has ended; may be closed
  pid_t pid_ = -1;
  std::optional<child_end> end_;
};

// Runs a program without input and collects its stdout, at most `output_bytes_max` (the rest is
// dropped). Completes when it has ended; cancelled: it is killed.
struct program_result {
  child_end end;
  std::string output;
  std::string stderr_tail;
};
[[nodiscard]] task<program_result> run_program(std::vector<std::string> argv,
                                               std::size_t output_bytes_max);

// Whether PATH has this program.
[[nodiscard]] bool program_exists(std::string const& name);

// Writing to a program that has ended is an error and not our death. Idempotent.
void ignore_sigpipe();

}  // namespace diskdump
