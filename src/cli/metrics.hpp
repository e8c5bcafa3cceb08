// --metrics FILE: what became of a dump, in the text format that Prometheus' node_exporter collects
// from files (https://prometheus.io/docs/instrumenting/exposition_formats/).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/fleet_watch.hpp"

namespace diskdump {

// Pure. Samples that are not known (the start of a target that never began) are left out. Targets
// that have target and name in common get a third label, so that no sample stands twice.
[[nodiscard]] std::string metrics_text(std::vector<fleet_target> const& targets,
                                       fleet_watch const& watch, clock_source::wall ended);

// The file, by name. Readers see the old content or the new one, never a part of it.
class metrics_file {
 public:
  // Throws where it could not be written: the folder is not there or refuses a file, or a folder
  // has the name already. `path` is kept; `option` gave it.
  explicit metrics_file(std::string path, std::string_view option = "--metrics");

  // Durable when it returns. Throws cannot-write errors with the path; nothing is left behind then.
  void write(std::string_view text) const;

 private:
  [[nodiscard]] std::string make_temporary(std::string_view text) const;

  std::string path_;
};

}  // namespace diskdump
