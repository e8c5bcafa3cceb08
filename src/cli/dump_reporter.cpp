#include "cli/dump_reporter.hpp"

#include <unistd.h>

#include <cstdio>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/fleet_screen.hpp"
#include "cli/fleet_summary.hpp"
#include "cli/json_events.hpp"
#include "cli/runtime.hpp"
#include "cli/screen_text.hpp"
#include "cli/text.hpp"

namespace diskdump {

dump_reporter::dump_reporter(global_options const& global, std::string_view verb,
                             std::vector<fleet_target> const& targets, timer_source& timers,
                             terminal_lines* live)
    : global_(global),
      verb_(verb),
      targets_(targets),
      timers_(timers),
      live_(live),
      live_results_(live != nullptr && ::isatty(STDOUT_FILENO) == 1),
      watch_(targets, timers.clock()) {}

bool dump_reporter::is_quiet() const noexcept { return global_.quiet || global_.json; }

void dump_reporter::tell(std::string const& text) {
  if (live_ != nullptr) {
    live_->above("diskdump: " + text);
  } else {
    report_error(text);
  }
}

void dump_reporter::result(std::string const& text) {
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

void dump_reporter::begin() {
  if (global_.json) json_fleet_event(targets_);
}

void dump_reporter::on_start(fleet_target const& target) {
  watch_.on_start(target);
  if (global_.json) json_start_event(target);
  if (!is_quiet() && live_ == nullptr) result(screen_text(target.label) + ": started");
}

void dump_reporter::on_retry(fleet_target const& target, fleet_retry const& retry) {
  watch_.on_retry(target, retry);
  if (global_.json) json_retry_event(target, retry);
  if (global_.quiet) return;
  tell(format("{}: attempt {} of {} failed, trying again in {} s from byte {}: {}",
              screen_text(target.label), retry.attempt, retry.attempts_max,
              std::chrono::ceil<std::chrono::seconds>(retry.pause).count(),
              retry.continues_at_bytes, screen_text(describe(retry.failure))));
}

void dump_reporter::on_output(fleet_target const& target, std::string_view command,
                              std::string_view line) {
  if (!global_.quiet) tell(format("{}: {}: {}", screen_text(target.label), command, line));
}

void dump_reporter::tell_resumable(fleet_target const& target) {
  tell(format("{}: {} of {} are in the store; the same command with --resume goes on behind them",
              screen_text(target.label), size_text(target.resumable_bytes),
              size_text(target.progress.image_bytes)));
}

void dump_reporter::on_end(fleet_target const& target) {
  watch_.on_end(target);
  if (global_.json) json_target_event(target, watch_.record(target));
  if (target.interrupted) {
    // Of many, the summary tells.
    bool const one = targets_.size() == 1 || global_.json;
    if (!global_.quiet && one) {
      tell(screen_text(target.label) + ": interrupted, nothing published");
    }
  } else if (target.failure) {
    tell(failure_text(target));
  } else if (is_quiet()) {
    // stdout is for results alone, or for events.
  } else if (live_results_ && targets_.size() > 1) {
    live_->above(outcome_line(target, size_of_terminal(STDERR_FILENO).columns - 1));
  } else if (live_results_) {
    live_->above(outcome_text(target));
  } else {
    result(outcome_text(target));
  }
  if (target.failure && target.resumable_bytes > 0 && !global_.quiet) tell_resumable(target);
}

void dump_reporter::finish(std::uint32_t block_bytes) {
  if (live_ != nullptr) live_->clear();
  std::chrono::duration<double> const elapsed = timers_.clock().now() - watch_.started_at();
  if (global_.json) {
    json_dump_summary(targets_, elapsed.count());
    return;
  }
  if (global_.quiet || targets_.size() == 1) return;
  bool const terminal = ::isatty(STDOUT_FILENO) == 1;
  std::size_t const columns = terminal ? size_of_terminal(STDOUT_FILENO).columns - 1 : 0;
  bool const coloured = terminal && wants_colour();
  for (auto const& line :
       fleet_summary(targets_, watch_,
                     {.block_bytes = block_bytes, .elapsed = elapsed, .columns = columns})) {
    std::printf("%s\n", render(line, std::string::npos, coloured).c_str());
  }
  std::fflush(stdout);
}

task<> dump_reporter::show() {
  auto const pause = live_ != nullptr ? limits::progress_interval
                                      : std::chrono::milliseconds(limits::rate_sample_interval);
  auto const every =
      global_.json ? limits::progress_event_interval : limits::progress_line_interval;
  auto told = timers_.clock().now();
  for (;;) {
    watch_.sample();
    auto const now = timers_.clock().now();
    if (live_ != nullptr) {
      auto const size = size_of_terminal(STDERR_FILENO);
      live_->draw(fleet_screen(watch_.picture(), size.columns - 1, size.rows - 1));
    } else if (now - told >= every) {
      told = now;
      if (global_.json) {
        json_fleet_progress(verb_, targets_, watch_.picture());
      } else if (!global_.quiet) {
        report_error(fleet_status(watch_.picture()));
      }
    }
    co_await timers_.sleep(pause);
  }
}

}  // namespace diskdump
