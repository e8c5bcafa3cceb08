// The process around a verb: the event loop, the worker threads, signals. One per process.
#pragma once

#include <functional>

#include "async/offload.hpp"
#include "async/timer.hpp"
#include "base/log.hpp"
#include "cli/options.hpp"

namespace diskdump {

// A line for a person on stderr, "diskdump: …"; `text` is made printable by whoever has it from
// outside.
void report_error(std::string_view text);

class runtime {
 public:
  explicit runtime(global_options const& options);

  [[nodiscard]] asio::any_io_executor executor() { return loop_.get_executor(); }

  // Runs `work` on the event loop until it has ended and returns its exit code. SIGINT, SIGTERM and
  // SIGHUP cancel it (and the code is 130 then); a second one ends the process at once. An
  // exception of `work` is reported on stderr and gives exit_code::failed. May be called again.
  [[nodiscard]] exit_code run(task<exit_code> work);

  [[nodiscard]] bool interrupted() const noexcept { return interrupted_; }

  // Shows a line for a person, "diskdump: …" on stderr; a live display puts its own in this place.
  // Any thread.
  std::function<void(std::string_view text)> show_line = report_error;

  // Called at the first signal, before the work is cancelled: for work that no cancellation
  // reaches.
  std::function<void()> on_interrupt = [] {};

 private:
  void watch_signals(asio::signal_set& signals, asio::cancellation_signal& cancel);

  asio::io_context loop_{1};
  bool interrupted_ = false;
  bool ended_ = false;  // what run() was given to do

 public:
  worker_pool workers;   // CPU
  worker_pool writers;   // blocking calls of the store
  worker_pool blocking;  // name resolution, prompts, children
  asio_timer_source timers;
  callback_log log;
};

}  // namespace diskdump
