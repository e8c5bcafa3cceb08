// The verbs, one file each (cmd_<verb>.cpp). Each opens what it needs, reports on stdout and stderr
// as the global options say, and returns the exit code.
#pragma once

#include "cli/options.hpp"
#include "cli/runtime.hpp"

namespace diskdump {

[[nodiscard]] exit_code run_verb(global_options const& global, help_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, dump_arguments& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, import_arguments& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, restore_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, copy_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, list_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, info_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, status_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, diff_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, init_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, protect_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, prune_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, gc_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, verify_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, reindex_arguments const& arguments);
[[nodiscard]] exit_code run_verb(global_options const& global, bench_arguments const& arguments);

}  // namespace diskdump
