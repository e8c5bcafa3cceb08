#include <cerrno>
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

void print(image_report const& report) {
  auto const& usage = report.usage;
  auto const& header = usage.header;
  print_field("Manifest", report.path);
  print_field("Source", printable(header.source));
  print_field("Date", report.age
                          ? format("{} ({})", printable(header.date, 64), age_text(*report.age))
                          : printable(header.date, 64));
  print_field("Block size", std::to_string(header.geometry.block_bytes));
  print_field("Total blocks", std::to_string(header.geometry.blocks().value));
  print_field("Total size", format("{} ({})", header.geometry.image_bytes,
                                   size_text(header.geometry.image_bytes)));
  print_field("Unique blocks", std::to_string(usage.blocks_distinct));
  print_field("Missing",
              usage.blocks_missing == 0
                  ? "0 blocks"
                  : format("{} blocks: this image cannot be restored", usage.blocks_missing));
  print_field("Zero blocks", std::to_string(usage.blocks_zero));
  print_field("Stored size", size_text(usage.stored_bytes));
  print_field("Only here", format("{} blocks, {}: what gc would free if this manifest were gone",
                                  usage.blocks_unique, size_text(usage.stored_bytes_unique)));
  print_field("Shared", format("{} blocks, {}: other manifests name them, too", usage.blocks_shared,
                               size_text(usage.stored_bytes - usage.stored_bytes_unique)));
  if (usage.lists.blocks > 0) {
    print_field("Lists",
                format("{} blocks, {}, that name the others; {}, {}, are only here",
                       usage.lists.blocks, size_text(usage.lists.stored_bytes),
                       usage.lists_unique.blocks, size_text(usage.lists_unique.stored_bytes)));
  }
  print_field("Protected", report.is_protected ? "yes" : "no");
  for (auto const& [key, value] : header.extra) print_field(printable(key, 64), printable(value));
}

// The plain list, for programs: what a manifest without lists holds below its header.
exit_code print_digests(block_store& store, std::string const& path) {
  manifest_reader reader(path, store);
  while (auto const id = reader.next()) {
    auto const text = id->hex() + "\n";
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) break;
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw errno_error(errno, "writing the digests to stdout");
  }
  return exit_code::ok;
}

}  // namespace

exit_code run_verb(global_options const& global, info_arguments const& arguments) {
  if (arguments.digests && global.json) {
    throw usage_error("info: --digests prints plain lines; leave --json out");
  }
  auto const store = open_store(global.base, {.read_only = true});
  auto const path = find_manifest(global.base, arguments.manifest);
  if (arguments.digests) return print_digests(*store, path);
  runtime process(global);
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
