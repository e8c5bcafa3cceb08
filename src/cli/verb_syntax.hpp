// How each verb is written: what it takes, what its help says, and how what was given becomes its
// arguments. One file per group of verbs; options.cpp puts them together.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/option_set.hpp"
#include "cli/options.hpp"
#include "cli/target_args.hpp"

namespace diskdump {

struct verb_syntax {
  std::string name;
  std::string summary;  // a line in the list of verbs
  std::string footer;   // below the options in the verb's own help
  std::function<void(option_set&)> declare;
  // After a parse without error. Throws usage_error.
  std::function<verb_arguments(std::vector<target_argument> const&)> finish;
  // HOST:PATH words, with the flags that apply to the one before, are taken out before the parse.
  bool takes_targets = false;
};

// The verbs of the group in the order of the help text.
[[nodiscard]] std::vector<verb_syntax> dump_verbs();    // options_dump.cpp: dump, import
[[nodiscard]] std::vector<verb_syntax> image_verbs();   // options_image.cpp: restore, list, …
[[nodiscard]] std::vector<verb_syntax> upkeep_verbs();  // options_upkeep.cpp: prune, gc, …
[[nodiscard]] std::vector<verb_syntax> bench_verbs();   // options_bench.cpp

// How MANIFEST may be written, for help texts.
inline constexpr char const* manifest_help =
    "MANIFEST: a path (absolute, or below DIR), a NAME (its newest), NAME~1 (the one before), or\n"
    "NAME@2026-04-24 (the newest of that date).";

}  // namespace diskdump
