#include "cli/text.hpp"

#include <array>

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
  return format("{:.0f} MB/s", static_cast<double>(bytes) / time.count() / 1e6);
}

std::string time_text(std::chrono::duration<double> time) {
  auto const seconds = time.count();
  if (seconds < 60) return format("{:.1f} s", seconds);
  auto const whole = static_cast<std::uint64_t>(seconds);
  if (whole < 3600) return format("{} m {:02} s", whole / 60, whole % 60);
  return format("{} h {:02} m", whole / 3600, whole / 60 % 60);
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

}  // namespace diskdump
