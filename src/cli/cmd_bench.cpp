#include <unistd.h>

#include <cstdio>

#include "base/format.hpp"
#include "bench/run.hpp"
#include "cli/bench_text.hpp"
#include "cli/carried_agents.hpp"
#include "cli/commands.hpp"
#include "cli/fleet_screen.hpp"
#include "cli/json_bench.hpp"
#include "cli/metrics.hpp"
#include "cli/screen_text.hpp"
#include "cli/terminal.hpp"

namespace diskdump {

namespace {

// Tells programs of each phase as it ends, and people of what is going on.
class bench_teller final : public bench_observer {
 public:
  bench_teller(global_options const& global, timer_source const& timers, terminal_lines* live)
      : global_(global), timers_(timers), live_(live) {}

  void on_begin(bench_report const& so_far) override {
    if (global_.json) json_bench_start(so_far);
  }

  void on_phase(store_report const& store, phase_report const& phase) override {
    if (global_.json) json_bench_phase(store, phase);
  }

  void on_status(bench_status const& status) override {
    auto const now = timers_.clock().now();
    if (live_ == nullptr || (drawn_ && now - *drawn_ < limits::progress_interval)) return;
    drawn_ = now;
    auto text = status.store.empty() ? "bench" : screen_text(status.store);
    text += ": " + status.what;
    if (status.total_bytes > 0) {
      text += format("  {}%", status.done_bytes * 100 / status.total_bytes);
    }
    live_->draw({{{text, ink::plain}}});
  }

 private:
  global_options const& global_;
  timer_source const& timers_;
  terminal_lines* live_;
  std::optional<clock_source::steady> drawn_;
};

task<exit_code> measure(bench_context& context, bench_options const& options,
                        bench_observer& observer, bench_report& report,
                        std::exception_ptr& failure) {
  try {
    report = co_await run_bench(context, options, observer);
  } catch (...) {
    failure = std::current_exception();
    co_return exit_code::failed;
  }
  co_return exit_code::ok;
}

}  // namespace

exit_code run_verb(global_options const& global, bench_arguments const& arguments) {
  std::optional<metrics_file> page;
  if (arguments.page) page.emplace(*arguments.page, "--html");
  runtime process(global);
  worker_pool readers(std::max(limits::reader_threads_min, process.workers.threads()));
  terminal_prompt prompt;
  terminal_lines lines;
  bool const live = terminal_lines::available() && !global.quiet && !global.json;
  if (live) process.show_line = lines.as_line_writer();
  bench_context context{process.executor(), process.workers, process.writers, readers,
                        process.blocking,   process.timers,  process.log,     prompt,
                        carried_agents()};
  bench_teller teller(global, process.timers, live ? &lines : nullptr);
  bench_report report;
  std::exception_ptr failure;
  auto const began = process.timers.clock().now();
  auto const code = process.run(measure(context, arguments.bench, teller, report, failure));
  lines.clear();
  if (process.interrupted()) return exit_code::interrupted;
  if (failure) std::rethrow_exception(failure);
  if (code != exit_code::ok) return code;
  std::chrono::duration<double> const time = process.timers.clock().now() - began;
  if (global.json) {
    json_bench_summary(report, time.count());
  } else if (!global.quiet) {
    auto const text = bench_table(report);
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  if (page) page->write(bench_page(report));
  return exit_code::ok;
}

}  // namespace diskdump
