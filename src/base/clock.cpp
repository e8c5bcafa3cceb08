#include "base/clock.hpp"

#include <ctime>

#include "base/format.hpp"

namespace diskdump {

namespace {
std::tm utc(clock_source::wall time) {
  auto const seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return parts;
}
}  // namespace

std::string iso_time(clock_source::wall time) {
  auto const t = utc(time);
  return format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+00:00", t.tm_year + 1900, t.tm_mon + 1,
                t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

std::string date_folder(clock_source::wall time) {
  auto const t = utc(time);
  return format("{:04}/{:02}/{:02}", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday);
}

}  // namespace diskdump
