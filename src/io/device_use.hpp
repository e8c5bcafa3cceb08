// Who uses a block device, told from the kernel's tables: the parsers behind refuse_if_in_use().
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace diskdump {

struct mount_entry {
  unsigned device_major = 0;
  unsigned device_minor = 0;
  std::string mount_point;
  std::string source;  // "/dev/sda1"; btrfs and others have an anonymous device number
};

// /proc/self/mountinfo, with its octal escapes undone; lines that do not parse are left out.
[[nodiscard]] std::vector<mount_entry> parse_mountinfo(std::string_view text);

// The paths in /proc/swaps.
[[nodiscard]] std::vector<std::string> parse_swaps(std::string_view text);

}  // namespace diskdump
