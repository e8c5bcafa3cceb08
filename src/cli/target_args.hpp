// Targets on the command line: [USER@]HOST:PATH[:PATH…], with `--sudo` and `--as NAME` applying to
// the target before them.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace diskdump {

struct target_argument {
  std::string user;  // empty where not given
  std::string host;
  std::vector<std::string> paths;
  bool sudo = false;
  std::string name;  // --as; empty where not given
};

// Parses one target. `[::1]:/dev/sda` is an IPv6 host; `\:` in a path is a colon; `sda`, `vda`,
// `nvme0n1` mean /dev/…. Throws usage_error.
[[nodiscard]] target_argument parse_target(std::string_view text);

struct split_arguments {
  std::vector<std::string> options;  // everything else, in order
  std::vector<target_argument> targets;
};

// Takes the targets and their flags out of a dump's arguments. `takes_value` tells which option is
// followed by its value. Throws usage_error, also for a flag before any target.
[[nodiscard]] split_arguments split_target_arguments(
    std::vector<std::string> const& arguments,
    std::function<bool(std::string_view option)> const& takes_value);

}  // namespace diskdump
