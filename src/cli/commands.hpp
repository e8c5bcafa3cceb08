// The verbs, one file each (cmd_<verb>.cpp). Each opens what it needs, reports on stdout and stderr
// as the global options say, and returns the exit code.
#pragma once

#include "cli/options.hpp"
#include "cli/runtime.hpp"

namespace diskdump {

[[nodiscard]] exit_code cmd_dump(command& what);
[[nodiscard]] exit_code cmd_restore(command& what);
[[nodiscard]] exit_code cmd_list(command& what);

}  // namespace diskdump
