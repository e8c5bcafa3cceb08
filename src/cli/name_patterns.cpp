#include "cli/name_patterns.hpp"

#include <fnmatch.h>

#include <algorithm>

#include "base/log.hpp"
#include "store/block_store.hpp"
#include "store/protection.hpp"

namespace diskdump {

namespace {

// A name that happens to hold a bracket is still meant when it is written out.
bool matches(std::string const& pattern, std::string const& name) {
  return pattern == name || ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

}  // namespace

bool name_patterns::match(std::string const& name) const {
  return patterns_.empty() || std::any_of(patterns_.begin(), patterns_.end(),
                                          [&](auto const& p) { return matches(p, name); });
}

void name_patterns::require_each(std::vector<std::string> const& names) const {
  for (auto const& pattern : patterns_) {
    if (std::any_of(names.begin(), names.end(), [&](auto const& n) { return matches(pattern, n); }))
      continue;
    throw error(store_errc::no_such_manifest, severity::permanent)
        .path(printable(pattern, limits::name_bytes_max))
        .cause("no image has such a name")
        .remedy("diskdump list shows what there is");
  }
}

std::string shown_manifest(std::string const& base, std::string const& path) {
  try {
    return manifest_below(base, path);
  } catch (error const&) {
    return path;
  }
}

}  // namespace diskdump
