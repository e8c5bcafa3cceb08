// Time as an interface, so that tests decide what time it is. `system_clock_source` is the real
// one. A clock may be read by any thread.
#pragma once

#include <chrono>
#include <string>

namespace diskdump {

class clock_source {
 public:
  using steady = std::chrono::steady_clock::time_point;
  using wall = std::chrono::system_clock::time_point;

  virtual ~clock_source() = default;
  [[nodiscard]] virtual steady now() const = 0;
  [[nodiscard]] virtual wall wall_now() const = 0;
};

class system_clock_source final : public clock_source {
 public:
  [[nodiscard]] steady now() const override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] wall wall_now() const override { return std::chrono::system_clock::now(); }
};

// "2026-04-24T02:00:00+00:00", UTC, whole seconds: how manifests write a date.
[[nodiscard]] std::string iso_time(clock_source::wall time);

// "2026/04/24", UTC: the folder of a manifest.
[[nodiscard]] std::string date_folder(clock_source::wall time);

}  // namespace diskdump
