#include <cstdio>

#include "base/format.hpp"
#include "cli/collection.hpp"
#include "cli/commands.hpp"
#include "cli/json_reports.hpp"
#include "cli/monitored.hpp"
#include "cli/text.hpp"

namespace diskdump {

namespace {

std::string blocks_text(store_stats const& stats) {
  return format("{} blocks ({})", stats.blocks, size_text(stats.stored_bytes));
}

void print(gc_report const& report, bool dry_run) {
  std::printf("%s\n",
              format("{} manifests name {} blocks", report.manifests, report.blocks_named).c_str());
  if (dry_run) {
    std::printf("%s\n", format("would delete {}", blocks_text(report.condemned)).c_str());
  } else {
    std::printf("%s\n", format("deleted {}", blocks_text(report.freed)).c_str());
  }
  if (report.reclaimed.packs_removed > 0) {
    std::printf("%s\n", format("removed {} packs, {} of them after what is needed was copied: {} "
                               "given back to the file system",
                               report.reclaimed.packs_removed, report.reclaimed.packs_rewritten,
                               size_text(report.reclaimed.bytes))
                            .c_str());
  }
  if (report.blocks_rescued > 0) {
    std::printf(
        "%s\n",
        format("{} condemned blocks are needed again and stay", report.blocks_rescued).c_str());
  }
  if (report.pending.blocks > 0) {
    std::printf("%s\n", format("{} condemned; the next gc deletes them, or this one with --wait",
                               blocks_text(report.pending))
                            .c_str());
    for (auto const& purpose : report.waiting_for) {
      std::printf("%s\n", format("  once this has ended: {}", purpose).c_str());
    }
  }
}

}  // namespace

exit_code run_collection(runtime& process, global_options const& global, gc_options options) {
  options.threads = process.workers.threads();
  options.log = &process.log;
  gc_report report;
  auto const started = process.timers.clock().now();
  run_monitored(process, global, "gc", [&](work_monitor& monitor) {
    report = collect_garbage(global.base, options, monitor);
  });
  std::chrono::duration<double> const time = process.timers.clock().now() - started;
  if (global.json) {
    json_gc_event(report, options.dry_run, time.count());
  } else if (!global.quiet && !report.stopped) {
    print(report, options.dry_run);
  }
  return process.interrupted() ? exit_code::interrupted : exit_code::ok;
}

exit_code run_verb(global_options const& global, gc_arguments const& arguments) {
  runtime process(global);
  return run_collection(process, global, {.dry_run = arguments.dry_run, .wait = arguments.wait});
}

}  // namespace diskdump
