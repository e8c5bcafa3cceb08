#include <cstdio>

#include "base/format.hpp"
#include "cli/commands.hpp"
#include "cli/json_reports.hpp"
#include "cli/monitored.hpp"
#include "cli/name_patterns.hpp"
#include "cli/text.hpp"
#include "store/inventory.hpp"
#include "store/protection.hpp"

namespace diskdump {

namespace {

void line(std::string_view key, std::string const& value) {
  std::printf("%s\n", format("{:<15} {}", std::string(key) + ":", value).c_str());
}

void print(image_report const& report) {
  auto const& usage = report.usage;
  auto const& header = usage.header;
  line("Manifest", report.path);
  line("Source", printable(header.source));
  line("Date", report.age ? format("{} ({})", printable(header.date, 64), age_text(*report.age))
                          : printable(header.date, 64));
  line("Block size", std::to_string(header.geometry.block_bytes));
  line("Total blocks", std::to_string(header.geometry.blocks().value));
  line("Total size",
       format("{} ({})", header.geometry.image_bytes, size_text(header.geometry.image_bytes)));
  line("Unique blocks", std::to_string(usage.blocks_distinct));
  line("Missing", usage.blocks_missing == 0
                      ? "0 blocks"
                      : format("{} blocks: this image cannot be restored", usage.blocks_missing));
  line("Zero blocks", std::to_string(usage.blocks_zero));
  line("Stored size", size_text(usage.stored_bytes));
  line("Only here", format("{} blocks, {}: what gc would free if this manifest were gone",
                           usage.blocks_unique, size_text(usage.stored_bytes_unique)));
  line("Shared", format("{} blocks, {}: other manifests name them, too", usage.blocks_shared,
                        size_text(usage.stored_bytes - usage.stored_bytes_unique)));
  line("Protected", report.is_protected ? "yes" : "no");
  for (auto const& [key, value] : header.extra) line(printable(key, 64), printable(value));
}

}  // namespace

exit_code run_verb(global_options const& global, info_arguments const& arguments) {
  static_cast<void>(open_store(global.base, {.read_only = true}));
  runtime process(global);
  auto const path = find_manifest(global.base, arguments.manifest);
  image_report report;
  report.path = shown_manifest(global.base, path);
  run_monitored(process, global, "info", [&](work_monitor& monitor) {
    report.usage = measure_image(global.base, path, process.workers.threads(), monitor);
  });
  if (process.interrupted()) return exit_code::interrupted;
  for (auto const& other : report.usage.others_unread) {
    process.log.warning(other.why + "; what it names is not counted as shared");
  }
  manifest_entry const as_entry{.path = report.path, .header = report.usage.header};
  if (auto const seconds = manifest_moment(as_entry)) {
    report.age =
        process.timers.clock().wall_now().time_since_epoch() - std::chrono::seconds(*seconds);
  }
  report.is_protected = is_protected(*make_posix_file_system(global.base), report.path);
  if (global.json) {
    json_info_event(report);
  } else if (!global.quiet) {
    print(report);
  }
  return report.usage.blocks_missing == 0 ? exit_code::ok : exit_code::failed;
}

}  // namespace diskdump
