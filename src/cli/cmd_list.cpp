#include <algorithm>
#include <cstdio>

#include "base/format.hpp"
#include "cli/commands.hpp"
#include "cli/json_events.hpp"
#include "cli/name_patterns.hpp"
#include "cli/text.hpp"
#include "store/inventory.hpp"
#include "store/protection.hpp"

namespace diskdump {

namespace {

bool in_time(manifest_entry const& entry, list_arguments const& arguments) {
  if (!arguments.since && !arguments.until) return true;
  auto const seconds = manifest_moment(entry);
  if (!seconds) return false;
  clock_source::wall const moment{std::chrono::seconds(*seconds)};
  return (!arguments.since || moment >= *arguments.since) &&
         (!arguments.until || moment <= *arguments.until);
}

void print_table(std::vector<manifest_entry> const& entries,
                 std::set<std::string> const& protected_paths) {
  std::size_t name_width = 4, path_width = 8;
  for (auto const& e : entries) {
    name_width = std::max(name_width, e.name.size());
    path_width = std::max(path_width, e.path.size());
  }
  std::printf("%s\n", format("{:<{}}  {:<25}  {:>10}  {:<{}}  {}", "NAME", name_width, "DATE",
                             "SIZE", "MANIFEST", path_width, "SOURCE")
                          .c_str());
  for (auto const& e : entries) {
    std::printf("%s\n",
                format("{:<{}}  {:<25}  {:>10}  {:<{}}  {}{}", e.name, name_width,
                       printable(e.header.date, 64), size_text(e.header.geometry.image_bytes),
                       e.path, path_width, printable(e.header.source),
                       protected_paths.contains(e.path) ? "  (protected)" : "")
                    .c_str());
  }
}

}  // namespace

exit_code run_verb(global_options const& global, list_arguments const& arguments) {
  auto code = exit_code::ok;
  auto entries = list_manifests(global.base, [&](std::string const&, error const& e) {
    report_error(e.what());
    if (global.json) json_error_event(e.what());
    code = exit_code::failed;
  });
  if (entries.empty() && code == exit_code::ok) {
    // Nothing there is either an empty store or the wrong folder; the user must be able to tell.
    static_cast<void>(open_store(global.base, {.read_only = true}));
  }
  name_patterns const wanted(arguments.names);
  std::vector<std::string> names;
  for (auto const& e : entries) names.push_back(e.name);
  wanted.require_each(names);
  std::erase_if(entries, [&](manifest_entry const& e) {
    return !wanted.match(e.name) || !in_time(e, arguments);
  });
  auto const protected_paths = protected_manifests(global.base);
  if (global.json) {
    for (auto const& e : entries) json_manifest_event(e, protected_paths.contains(e.path));
  } else if (!global.quiet && !entries.empty()) {
    print_table(entries, protected_paths);
  }
  return code;
}

}  // namespace diskdump
