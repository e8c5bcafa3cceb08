// A collection as the verbs gc and prune run it and tell of it.
#pragma once

#include "cli/runtime.hpp"
#include "store/gc.hpp"

namespace diskdump {

// Runs collect_garbage() with a display and says what came of it. `process` may have run before.
[[nodiscard]] exit_code run_collection(runtime& process, global_options const& global,
                                       gc_options options);

}  // namespace diskdump
