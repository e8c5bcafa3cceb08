// NAME… on the command line: names of images, or patterns with *, ? and []; and how the path that
// a name stands for is shown.
#pragma once

#include <string>
#include <vector>

namespace diskdump {

class name_patterns {
 public:
  // None given: every name matches.
  explicit name_patterns(std::vector<std::string> patterns) : patterns_(std::move(patterns)) {}

  [[nodiscard]] bool match(std::string const& name) const;

  // Throws no_such_manifest for the first pattern that matches none of `names`: a typing error must
  // not look like an empty store.
  void require_each(std::vector<std::string> const& names) const;

 private:
  std::vector<std::string> patterns_;
};

// Relative to DIR where the manifest lies below it, as in every other list.
[[nodiscard]] std::string shown_manifest(std::string const& base, std::string const& path);

}  // namespace diskdump
