#include <cstdio>

#include "base/format.hpp"
#include "cli/commands.hpp"
#include "cli/json_events.hpp"
#include "cli/json_reports.hpp"
#include "cli/monitored.hpp"
#include "cli/text.hpp"
#include "store/inventory.hpp"
#include "store/protection.hpp"

namespace diskdump {

namespace {

std::string ratio_text(std::uint64_t large, std::uint64_t small) {
  if (small == 0) return "-";
  return format("{:.2f} : 1", static_cast<double>(large) / static_cast<double>(small));
}

std::string blocks_field(store_stats const& stats) {
  return format("{} blocks, {}", stats.blocks, size_text(stats.stored_bytes));
}

void print_store(std::string const& base, store_usage const& usage, std::size_t names) {
  auto const stored_named = usage.stored_bytes_of_images();
  print_field("Block store", base + "/.blockstore");
  print_field("Format", usage.properties.format);
  print_field("Block size", std::to_string(usage.properties.block_bytes));
  print_field("Total blocks", std::to_string(usage.stored.blocks));
  print_field("Compressed", size_text(usage.stored.stored_bytes));
  print_field("Images", format("{}, of which {} is distinct", size_text(usage.image_bytes),
                               size_text(usage.content_bytes)));
  print_field("Deduplication", ratio_text(usage.image_bytes, usage.content_bytes));
  print_field("Compression", ratio_text(usage.content_bytes, stored_named));
  if (usage.lists.blocks > 0) print_field("Lists", blocks_field(usage.lists) + ", of digests");
  print_field("Unreferenced", usage.unnamed.blocks == 0 && usage.condemned.blocks == 0
                                  ? "0 blocks"
                                  : blocks_field(usage.unnamed) + ": diskdump gc frees them");
  if (usage.condemned.blocks > 0) {
    print_field("Condemned", blocks_field(usage.condemned) + ": the next gc deletes them");
  }
  if (usage.blocks_missing > 0) {
    print_field("Missing",
                format("{} blocks that manifests name: run diskdump verify", usage.blocks_missing));
  }
  print_field("Quarantine", format("{} files", usage.quarantined));
  print_field("Free space", usage.free_bytes ? size_text(*usage.free_bytes) : "unknown");
  for (auto const& purpose : usage.running) print_field("Running", purpose);
  print_field("Manifests", format("{} of {} names", usage.manifests.size(), names));
}

void print_name(name_summary const& name, store_usage const& usage,
                std::set<std::string> const& protected_paths) {
  std::printf("  %s\n", format("{}: {} {}", name.name, name.last - name.first,
                               name.last - name.first == 1 ? "version" : "versions")
                            .c_str());
  for (auto i = name.first; i < name.last; ++i) {
    auto const& e = usage.manifests[i];
    std::printf("    %s\n", format("{}  {}  {}{}", e.path, printable(e.header.date, 64),
                                   size_text(e.header.geometry.image_bytes),
                                   protected_paths.contains(e.path) ? "  (protected)" : "")
                                .c_str());
  }
}

}  // namespace

exit_code run_verb(global_options const& global, status_arguments const&) {
  runtime process(global);
  store_usage usage;
  run_monitored(process, global, "status", [&](work_monitor& monitor) {
    usage = measure_store(global.base, process.workers.threads(), monitor);
  });
  if (process.interrupted()) return exit_code::interrupted;
  auto const names = names_of(usage.manifests);
  auto const protected_paths = protected_manifests(global.base);
  if (global.json) {
    json_status_event(global.base, usage, names.size());
    for (auto const& name : names) json_name_event(name, usage.manifests);
    for (auto const& e : usage.manifests) {
      json_manifest_event(e, protected_paths.contains(e.path));
    }
  } else if (!global.quiet) {
    print_store(global.base, usage, names.size());
    for (auto const& name : names) print_name(name, usage, protected_paths);
  }
  for (auto const& damaged : usage.damaged) {
    report_error(damaged.why);
    if (global.json) json_error_event(damaged.why);
  }
  bool const well = usage.damaged.empty() && usage.blocks_missing == 0;
  return well ? exit_code::ok : exit_code::failed;
}

}  // namespace diskdump
