// Targets on the command line: [USER@]HOST:PATH[:PATH…], with `--sudo`, `--as NAME`, `--pre CMD`
// and `--post CMD` applying to the target before them; the latter two, before any target, to all.
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
  std::string name;       // --as; empty where not given
  std::string pre, post;  // likewise
  std::string where;      // "FILE:LINE" of a list of targets; empty on the command line
};

// Parses one target. `[::1]:/dev/sda` is an IPv6 host; `\:` in a path is a colon; `sda`, `vda`,
// `nvme0n1` mean /dev/…. Throws usage_error.
[[nodiscard]] target_argument parse_target(std::string_view text);

// Throws usage_error where the text cannot be a command around a dump.
void check_target_command(std::string const& option, std::string const& command);

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
