// Fleets and clocks for the tests of what is shown of a dump.
#pragma once

#include <string>
#include <vector>

#include "cli/fleet_watch.hpp"
#include "cli/screen_line.hpp"

namespace diskdump {

struct test_clock final : clock_source {
  [[nodiscard]] steady now() const override { return time; }
  [[nodiscard]] wall wall_now() const override {
    return wall(std::chrono::seconds(1'776'988'800)) + (time - steady{});
  }
  steady time{};
};

inline std::vector<fleet_target> test_fleet(std::size_t count) {
  std::vector<fleet_target> targets(count);
  for (std::size_t i = 0; i < count; ++i) {
    auto& t = targets[i];
    t.host = "server" + std::to_string(i);
    t.path = "/dev/sda";
    t.label = t.host + ":" + t.path;
    t.manifest_name = t.host + "-sda";
  }
  return targets;
}

// The lines as a terminal of so many columns has them, without colours.
inline std::vector<std::string> plain(std::vector<screen_line> const& lines,
                                      std::size_t columns = std::string::npos) {
  std::vector<std::string> out;
  for (auto const& line : lines) out.push_back(render(line, columns, false));
  return out;
}

}  // namespace diskdump
