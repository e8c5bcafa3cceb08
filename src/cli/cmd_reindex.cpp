#include <cstdio>

#include "base/format.hpp"
#include "cli/commands.hpp"
#include "cli/json_reports.hpp"
#include "cli/monitored.hpp"
#include "cli/text.hpp"
#include "store/reindex.hpp"

namespace diskdump {

namespace {

void print(reindex_report const& report) {
  std::printf("%s\n", format("{} blocks ({}); the index had {} rows: {} added, {} removed, {} "
                             "corrected",
                             report.files, size_text(report.stored_bytes), report.rows_before,
                             report.rows_added, report.rows_removed, report.rows_corrected)
                          .c_str());
  if (report.blocks_set_aside > 0) {
    std::printf("%s\n", format("{} bad blocks moved to .blockstore/quarantine: run diskdump verify "
                               "to see what they hit",
                               report.blocks_set_aside)
                            .c_str());
  }
  if (!report.moved_aside.empty()) {
    std::printf("%s\n", format("the old index is kept as {}", report.moved_aside).c_str());
  }
}

}  // namespace

exit_code run_verb(global_options const& global, reindex_arguments const& arguments) {
  runtime process(global);
  reindex_report report;
  auto const started = process.timers.clock().now();
  run_monitored(process, global, "reindex", [&](work_monitor& monitor) {
    report = rebuild_index(
        global.base,
        {.quick = arguments.quick, .threads = process.workers.threads(), .log = &process.log},
        monitor);
  });
  std::chrono::duration<double> const time = process.timers.clock().now() - started;
  if (global.json) {
    json_reindex_event(report, time.count());
  } else if (!global.quiet && !report.stopped) {
    print(report);
  }
  if (process.interrupted()) return exit_code::interrupted;
  return report.blocks_set_aside == 0 ? exit_code::ok : exit_code::failed;
}

}  // namespace diskdump
