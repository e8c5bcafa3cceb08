#include "bench/report.hpp"

namespace diskdump {

namespace {

constexpr double gb = 1e9;

}  // namespace

std::string_view name_of(bench_phase which) noexcept {
  switch (which) {
    case bench_phase::first:
      return "first";
    case bench_phase::unchanged:
      return "unchanged";
    case bench_phase::changed:
      return "changed";
    case bench_phase::restore:
      return "restore";
    case bench_phase::verify:
      return "verify";
    case bench_phase::collect:
      return "gc";
  }
  return "";
}

std::optional<double> phase_report::bytes_per_second() const {
  if (image_bytes == 0 || time.count() <= 0) return std::nullopt;
  return static_cast<double>(image_bytes) / time.count();
}

std::optional<double> phase_report::cpu_per_gb(std::chrono::duration<double> cpu) const {
  if (image_bytes == 0) return std::nullopt;
  return cpu.count() / (static_cast<double>(image_bytes) / gb);
}

}  // namespace diskdump
