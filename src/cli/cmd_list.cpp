#include <cstdio>

#include "base/format.hpp"
#include "cli/commands.hpp"
#include "cli/json_events.hpp"
#include "cli/text.hpp"
#include "store/manifest.hpp"

namespace diskdump {

exit_code run_verb(global_options const& global, list_arguments const&) {
  auto code = exit_code::ok;
  auto const entries = list_manifests(global.base, [&](std::string const&, error const& e) {
    report_error(e.what());
    if (global.json) json_error_event(e.what());
    code = exit_code::failed;
  });
  if (entries.empty() && code == exit_code::ok) {
    // Nothing there is either an empty store or the wrong folder; the user must be able to tell.
    static_cast<void>(open_store(global.base, {.read_only = true}));
  }
  std::size_t name_width = 4, path_width = 8;
  for (auto const& e : entries) {
    name_width = std::max(name_width, e.name.size());
    path_width = std::max(path_width, e.path.size());
  }
  if (!global.json && !global.quiet && !entries.empty()) {
    std::printf("%s\n", format("{:<{}}  {:<25}  {:>10}  {:<{}}  {}", "NAME", name_width, "DATE",
                               "SIZE", "MANIFEST", path_width, "SOURCE")
                            .c_str());
  }
  for (auto const& e : entries) {
    if (global.json) {
      json_manifest_event(e);
      continue;
    }
    std::printf("%s\n",
                format("{:<{}}  {:<25}  {:>10}  {:<{}}  {}", e.name, name_width,
                       printable(e.header.date, 64), size_text(e.header.geometry.image_bytes),
                       e.path, path_width, printable(e.header.source))
                    .c_str());
  }
  return code;
}

}  // namespace diskdump
