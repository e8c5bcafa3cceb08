#include <cstdio>

#include "base/format.hpp"
#include "cli/commands.hpp"
#include "cli/json_reports.hpp"
#include "cli/monitored.hpp"
#include "cli/text.hpp"
#include "store/manifest.hpp"
#include "store/verify.hpp"

namespace diskdump {

namespace {

// What was found wrong is said whether quiet or not.
void print_damage(verify_report const& report) {
  for (std::size_t i = 0; i < report.damages.size(); ++i) {
    auto const& d = report.damages[i];
    std::printf("%s\n", format("{} block {}{}{}", kind_text(d.what), d.id.hex(),
                               d.detail.empty() ? "" : ": ", printable(d.detail))
                            .c_str());
    if (!d.path.empty()) {
      std::printf("%s\n", format("  file {}{}", d.path,
                                 d.quarantined.empty() ? "" : ", now " + d.quarantined)
                              .c_str());
    }
    for (auto const& r : report.ranges) {
      if (r.damage != i) continue;
      std::printf(
          "%s\n",
          format("  {}: {} bytes at {}", r.manifest, r.length_bytes, r.offset_bytes).c_str());
    }
  }
  if (report.damages_total > report.damages.size() || report.ranges_total > report.ranges.size()) {
    std::printf("%s\n", format("… {} damaged blocks and {} ranges in all", report.damages_total,
                               report.ranges_total)
                            .c_str());
  }
  for (auto const& m : report.manifests_damaged) std::printf("%s\n", printable(m.why).c_str());
}

void print_summary(verify_report const& report, std::chrono::duration<double> time) {
  if (report.leftovers > 0) {
    std::printf("%s\n", format("{} torn files of dumps that were cut off: nothing needs them",
                               report.leftovers)
                            .c_str());
  }
  if (report.unindexed > 0) {
    std::printf("%s\n", format("{} good blocks are not in the index: diskdump reindex adds them",
                               report.unindexed)
                            .c_str());
  }
  if (report.sample_to > report.sample_from) {
    std::printf("%s\n", format("the part from {:.1f} % to {:.1f} % of the blocks",
                               report.sample_from, report.sample_to)
                            .c_str());
  }
  std::printf(
      "%s\n",
      format("{} blocks ({}, {} decompressed) and {} manifests checked in {} ({}): {}",
             report.blocks, size_text(report.stored_bytes), size_text(report.content_bytes),
             report.manifests, time_text(time), rate_text(report.content_bytes, time),
             report.all_well() ? "all well"
                               : format("{} blocks and {} manifests are damaged",
                                        report.damages_total, report.manifests_damaged.size()))
          .c_str());
}

}  // namespace

exit_code run_verb(global_options const& global, verify_arguments const& arguments) {
  static_cast<void>(open_store(global.base, {.read_only = true}));
  runtime process(global);
  verify_options options{.sample_percent = arguments.sample_percent,
                         .repair = arguments.repair,
                         .threads = process.workers.threads(),
                         .log = &process.log};
  if (arguments.manifest) options.manifest = find_manifest(global.base, *arguments.manifest);
  verify_report report;
  auto const started = process.timers.clock().now();
  run_monitored(process, global, "verify", [&](work_monitor& monitor) {
    report = verify_store(global.base, options, monitor);
  });
  std::chrono::duration<double> const time = process.timers.clock().now() - started;
  if (global.json) {
    json_verify_events(report, time.count());
  } else {
    print_damage(report);
    if (!global.quiet && !report.stopped) print_summary(report, time);
  }
  if (process.interrupted()) return exit_code::interrupted;
  return report.all_well() ? exit_code::ok : exit_code::failed;
}

}  // namespace diskdump
