// protect and unprotect.
#include <cstdio>

#include "base/format.hpp"
#include "cli/commands.hpp"
#include "cli/json_reports.hpp"
#include "store/manifest.hpp"
#include "store/protection.hpp"

namespace diskdump {

namespace {

// The mark of a manifest that a person deleted can still be taken off, by its path.
std::string path_of(std::string const& base, protect_arguments const& arguments) {
  try {
    return manifest_below(base, find_manifest(base, arguments.manifest));
  } catch (error const& failure) {
    bool const stale = !arguments.protect && failure.code() == store_errc::no_such_manifest &&
                       protected_manifests(base).contains(arguments.manifest);
    if (!stale) throw;
    return arguments.manifest;
  }
}

}  // namespace

exit_code run_verb(global_options const& global, protect_arguments const& arguments) {
  static_cast<void>(open_store(global.base, {.read_only = true}));
  auto const path = path_of(global.base, arguments);
  bool const changed = arguments.protect ? protect_manifest(global.base, path)
                                         : unprotect_manifest(global.base, path);
  if (global.json) {
    json_protection_event(path, arguments.protect, changed);
  } else if (!global.quiet) {
    std::printf("%s\n", format("{}: {}{}", path, changed ? "" : "was already ",
                               arguments.protect ? "protected" : "not protected")
                            .c_str());
  }
  return exit_code::ok;
}

}  // namespace diskdump
