#include "cli/runtime.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "transport/connect.hpp"

namespace diskdump {

namespace {

unsigned cores() {
  auto const n = std::thread::hardware_concurrency();
  return std::clamp(n, 1U, limits::worker_threads_max);
}

log_level threshold(global_options const& options) {
  if (options.quiet) return log_level::error;
  return options.verbose ? log_level::debug : log_level::warning;
}

void write_line(std::string const& line) { std::fwrite(line.data(), 1, line.size(), stderr); }

}  // namespace

void report_error(std::string_view text) { write_line(format("diskdump: {}\n", text)); }

runtime::runtime(global_options const& options)
    : workers(cores()),
      writers(limits::writer_threads),
      blocking(limits::blocking_threads),
      log(threshold(options), [this](log_level level, std::string_view line) {
        char const* const kind = level >= log_level::error     ? "error: "
                                 : level >= log_level::warning ? "warning: "
                                                               : "";
        show_line(format("{}{}", kind, line));
      }) {
  // A connection that breaks is an error of that target, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  // So is a file that may grow no further (ulimit -f): EFBIG, with the file's name.
  std::signal(SIGXFSZ, SIG_IGN);
}

void runtime::watch_signals(asio::signal_set& signals, asio::cancellation_signal& cancel) {
  signals.async_wait([this, &signals, &cancel](asio::error_code failed, int) {
    // A signal that came just as the work ended changes nothing any more.
    if (failed || ended_) return;
    // The second time the user means it: nothing is flushed; the store stands a crash at any point.
    if (interrupted_) {
      terminal_prompt::restore_echo();
      std::_Exit(static_cast<int>(exit_code::interrupted));
    }
    interrupted_ = true;
    show_line("interrupted: stopping; once more ends at once");
    on_interrupt();
    cancel.emit(asio::cancellation_type::terminal);
    watch_signals(signals, cancel);
  });
}

exit_code runtime::run(task<exit_code> work) {
  auto code = exit_code::failed;
  loop_.restart();  // it may have run before
  ended_ = false;
  asio::cancellation_signal cancel;
  asio::signal_set signals(loop_, SIGINT, SIGTERM, SIGHUP);
  watch_signals(signals, cancel);
  asio::co_spawn(loop_, std::move(work),
                 asio::bind_cancellation_slot(cancel.slot(),
                                              [&](std::exception_ptr failure, exit_code result) {
                                                ended_ = true;
                                                signals.cancel();
                                                code = failure ? exit_code::failed : result;
                                                if (failure && !interrupted_) {
                                                  show_line(describe(failure));
                                                }
                                              }));
  loop_.run();
  return interrupted_ ? exit_code::interrupted : code;
}

}  // namespace diskdump
