// Small text files of the kernel (/proc, /sys). What cannot be read is empty, never an error.
#pragma once

#include <string>
#include <vector>

#include "base/limits.hpp"

namespace diskdump {

[[nodiscard]] std::string read_system_file(std::string const& path,
                                           std::size_t bytes_max = limits::system_file_bytes_max);

// The names in a directory without "." and "..", sorted; empty where it cannot be read.
[[nodiscard]] std::vector<std::string> list_system_directory(std::string const& path);

}  // namespace diskdump
