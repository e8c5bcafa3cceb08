// Numbers and times as people read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace diskdump {

// "0 B", "1.5 KiB", "20.0 GiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);
// "162 MB/s", "3.2 MB/s", "45 kB/s": decimal, as disks and links are sold.
[[nodiscard]] std::string rate_text(std::uint64_t bytes, std::chrono::duration<double> time);
[[nodiscard]] std::string rate_text(double bytes_per_second);
// "3.2 s", "4 m 05 s", "2 h 01 m".
[[nodiscard]] std::string time_text(std::chrono::duration<double> time);
// "850 ns", "12.3 µs", "4.56 ms", "1.20 s": three digits.
[[nodiscard]] std::string latency_text(std::chrono::nanoseconds time);
// What is left to wait, without fractions: "12 s", "4 m 05 s", "2 h 01 m", "3 d 04 h".
[[nodiscard]] std::string left_text(std::chrono::duration<double> time);
// "now", "5 minutes ago", "3 days ago", "in the future".
[[nodiscard]] std::string age_text(std::chrono::duration<double> age);

// "KEY:  VALUE" on stdout, the values of several calls below each other.
void print_field(std::string_view key, std::string const& value);

}  // namespace diskdump
