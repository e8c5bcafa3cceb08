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

void line(std::string_view key, std::string const& value) {
  std::printf("%s\n", format("{:<15} {}", std::string(key) + ":", value).c_str());
}

std::string ratio_text(std::uint64_t large, std::uint64_t small) {
  if (small == 0) return "-";
  return format("{:.2f} : 1", static_cast<double>(large) / static_cast<double>(small));
}

std::string blocks_text(store_stats const& stats) {
  return format("{} blocks, {}", stats.blocks, size_text(stats.stored_bytes));
}

void print_store(std::string const& base, store_usage const& usage, std::size_t names) {
  auto const& stored_named = usage.stored.stored_bytes - usage.unnamed.stored_bytes;
  line("Block store", base + "/.blockstore");
  line("Block size", std::to_string(usage.properties.block_bytes));
  line("Total blocks", std::to_string(usage.stored.blocks));
  line("Compressed", size_text(usage.stored.stored_bytes));
  line("Images", format("{}, of which {} is distinct", size_text(usage.image_bytes),
                        size_text(usage.content_bytes)));
  line("Deduplication", ratio_text(usage.image_bytes, usage.content_bytes));
  line("Compression", ratio_text(usage.content_bytes, stored_named));
  line("Unreferenced", usage.unnamed.blocks == 0 && usage.condemned.blocks == 0
                           ? "0 blocks"
                           : blocks_text(usage.unnamed) + ": diskdump gc frees them");
  if (usage.condemned.blocks > 0) {
    line("Condemned", blocks_text(usage.condemned) + ": the next gc deletes them");
  }
  if (usage.blocks_missing > 0) {
    line("Missing",
         format("{} blocks that manifests name: run diskdump verify", usage.blocks_missing));
  }
  line("Quarantine", format("{} files", usage.quarantined));
  line("Free space", usage.free_bytes ? size_text(*usage.free_bytes) : "unknown");
  for (auto const& purpose : usage.running) line("Running", purpose);
  line("Manifests", format("{} of {} names", usage.manifests.size(), names));
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
