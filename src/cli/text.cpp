#include "cli/text.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/format.hpp"

namespace diskdump {

std::string size_text(std::uint64_t bytes) {
  static constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return format("{:.1f} {}", value, units[unit]);
}

std::string rate_text(std::uint64_t bytes, std::chrono::duration<double> time) {
  if (time.count() <= 0) return "-";
  return rate_text(static_cast<double>(bytes) / time.count());
}

// Three digits at least tell a change, four fit the column of a table.
std::string rate_text(double bytes_per_second) {
  auto const mega = bytes_per_second / 1e6;
  if (mega >= 9999.5) return format("{:.1f} GB/s", mega / 1e3);
  if (mega >= 9.95) return format("{:.0f} MB/s", mega);
  if (mega >= 0.9995) return format("{:.1f} MB/s", mega);
  return format("{:.0f} kB/s", bytes_per_second / 1e3);
}

std::string time_text(std::chrono::duration<double> time) {
  auto const seconds = time.count();
  if (seconds < 60) return format("{:.1f} s", seconds);
  auto const whole = static_cast<std::uint64_t>(seconds);
  if (whole < 3600) return format("{} m {:02} s", whole / 60, whole % 60);
  return format("{} h {:02} m", whole / 3600, whole / 60 % 60);
}

std::string latency_text(std::chrono::nanoseconds time) {
  static constexpr std::array units{"ns", "µs", "ms", "s"};
  auto value = static_cast<double>(time.count());
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0 || value >= 99.95) return format("{:.0f} {}", value, units[unit]);
  return format("{:.{}f} {}", value, value >= 9.995 ? 1 : 2, units[unit]);
}

std::string left_text(std::chrono::duration<double> time) {
  constexpr double years = 1e9;  // nobody waits for longer, and more overflows
  auto const whole = static_cast<std::uint64_t>(std::clamp(time.count(), 0.0, years) + 0.5);
  if (whole < 60) return format("{} s", whole);
  if (whole < 3600) return format("{} m {:02} s", whole / 60, whole % 60);
  if (whole < 100 * 3600) return format("{} h {:02} m", whole / 3600, whole / 60 % 60);
  if (whole < 10 * 86400) return format("{} d {:02} h", whole / 86400, whole / 3600 % 24);
  return format("{} d", whole / 86400);
}

std::string age_text(std::chrono::duration<double> age) {
  struct unit {
    double seconds;
    char const* name;
  };
  static constexpr std::array units{unit{365.25 * 86400, "year"}, unit{86400, "day"},
                                    unit{3600, "hour"}, unit{60, "minute"}};
  if (age.count() < 0) return "in the future";
  for (auto const& u : units) {
    auto const count = static_cast<std::uint64_t>(age.count() / u.seconds);
    if (count > 0) return format("{} {}{} ago", count, u.name, count == 1 ? "" : "s");
  }
  return "now";
}

void print_field(std::string_view key, std::string const& value) {
  std::printf("%s\n", format("{:<15} {}", std::string(key) + ":", value).c_str());
}

}  // namespace diskdump
