#include "cli/monitored.hpp"

#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/json_events.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"

namespace diskdump {

namespace {

// Reads the monitor's counters together with the time since its phase began.
class work_watch {
 public:
  work_watch(work_monitor const& monitor, timer_source const& timers)
      : monitor_(monitor), timers_(timers), entered_(timers.clock().now()) {}

  work_state look() {
    auto const now = timers_.clock().now();
    char const* const phase = monitor_.phase;
    if (phase_ != phase) {
      phase_ = phase;
      entered_ = now;
    }
    return {phase_,        monitor_.done, monitor_.total, monitor_.bytes_done, monitor_.bytes_total,
            now - entered_};
  }

 private:
  work_monitor const& monitor_;
  timer_source const& timers_;
  std::string phase_;
  clock_source::steady entered_;
};

struct display {
  global_options const& global;
  std::string const& verb;
  terminal_lines* live;
};

// Until cancelled.
task<> show(timer_source& timers, work_monitor const& monitor, display how) {
  work_watch watch(monitor, timers);
  auto const pause = how.live != nullptr ? limits::progress_interval
                     : how.global.json   ? limits::progress_event_interval
                                         : limits::progress_line_interval;
  for (;;) {
    // What is done by then needs no display.
    co_await timers.sleep(pause);
    auto const state = watch.look();
    if (how.live != nullptr) {
      how.live->draw({{{work_line(how.verb, state)}}});
    } else if (how.global.json) {
      json_progress_event(how.verb, state);
    } else if (!how.global.quiet) {
      report_error(work_line(how.verb, state));
    }
  }
}

task<> work_then_end(runtime& process, work_monitor& monitor,
                     std::function<void(work_monitor&)> const& work, scope& both,
                     std::exception_ptr& failure) {
  try {
    co_await offload(process.blocking, [&] { work(monitor); });
  } catch (...) {
    failure = std::current_exception();
  }
  both.cancel();
}

task<exit_code> work_with_display(runtime& process, work_monitor& monitor,
                                  std::function<void(work_monitor&)> const& work, display how,
                                  std::exception_ptr& failure) {
  // A signal is told to the work, which ends by itself; nothing here may leave before it.
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  try {
    co_await with_scope([&](scope& both) {
      both.spawn(show(process.timers, monitor, how));
      both.spawn(work_then_end(process, monitor, work, both, failure));
    });
  } catch (...) {
    // The end of the display is not a failure.
    if (!is_consequence(std::current_exception())) throw;
  }
  co_return exit_code::ok;
}

int percent(double part) { return static_cast<int>(part * 100); }

}  // namespace

std::optional<std::chrono::duration<double>> work_state::left() const {
  auto const all = static_cast<double>(bytes_total > 0 ? bytes_total : total);
  auto const past = static_cast<double>(bytes_total > 0 ? bytes_done : done);
  if (past <= 0 || past >= all) return std::nullopt;
  return elapsed * ((all - past) / past);
}

std::string work_line(std::string_view verb, work_state const& state) {
  auto text = format("{}: {}", verb, state.phase.empty() ? "starting" : state.phase);
  auto const seconds = state.elapsed.count();
  if (state.bytes_total > 0) {
    text += format(
        "  {}%  {} of {}  {}",
        percent(static_cast<double>(state.bytes_done) / static_cast<double>(state.bytes_total)),
        size_text(state.bytes_done), size_text(state.bytes_total),
        rate_text(state.bytes_done, state.elapsed));
  } else if (state.total > 0) {
    text += format("  {}%  {} of {}",
                   percent(static_cast<double>(state.done) / static_cast<double>(state.total)),
                   state.done, state.total);
    if (seconds > 0) text += format("  {:.0f}/s", static_cast<double>(state.done) / seconds);
  } else if (state.done > 0) {
    text += format("  {}", state.done);
  }
  if (auto const left = state.left()) text += "  ETA " + left_text(*left);
  return text;
}

void run_monitored(runtime& process, global_options const& global, std::string const& verb,
                   std::function<void(work_monitor&)> const& work) {
  work_monitor monitor;
  terminal_lines lines;
  bool const live = terminal_lines::available() && !global.quiet && !global.json;
  if (live) process.show_line = lines.as_line_writer();
  process.on_interrupt = [&monitor] { monitor.stop = true; };
  std::exception_ptr failure;
  auto const code = process.run(
      work_with_display(process, monitor, work, {global, verb, live ? &lines : nullptr}, failure));
  process.show_line = report_error;
  process.on_interrupt = [] {};
  lines.clear();
  if (failure) std::rethrow_exception(failure);
  // The work never fails by way of its coroutine; what did was reported by the runtime.
  if (code == exit_code::failed) throw std::runtime_error(verb + " did not run to its end");
}

}  // namespace diskdump
