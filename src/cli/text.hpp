// Numbers and times as people read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace diskdump {

// "0 B", "1.5 KiB", "20.0 GiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);
// "162 MB/s": decimal, as disks and links are sold.
[[nodiscard]] std::string rate_text(std::uint64_t bytes, std::chrono::duration<double> time);
// "3.2 s", "4 m 05 s", "2 h 01 m".
[[nodiscard]] std::string time_text(std::chrono::duration<double> time);
// "now", "5 minutes ago", "3 days ago", "in the future".
[[nodiscard]] std::string age_text(std::chrono::duration<double> age);

}  // namespace diskdump
