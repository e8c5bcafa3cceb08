// --targets-from: a list of targets, one a line with its flags, as they stand on the command line:
//
//   # the web servers
//   server01:/dev/sda --sudo
//   'server02:/srv/a disk.img' --as "the disk"
//
// Words are quoted as in a shell: '…' keeps all, in "…" and outside a backslash keeps the next
// letter. Nothing is expanded. A # that begins a word begins a comment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/target_args.hpp"

namespace diskdump {

// `file` names the list in errors: "targets.txt:7: …". Throws usage_error.
[[nodiscard]] std::vector<target_argument> parse_targets_list(std::string_view text,
                                                              std::string_view file);

// Reads the list in the file of this name, or on stdin for "-". Throws usage_error.
[[nodiscard]] std::vector<target_argument> read_targets_file(std::string const& path);

}  // namespace diskdump
