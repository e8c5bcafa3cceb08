#include "cli/values.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "cli/options.hpp"
#include "store/manifest_name.hpp"

namespace diskdump {

namespace {

constexpr std::uint64_t kibi = 1024;
constexpr std::size_t shown_max = 80;
constexpr std::chrono::seconds precision{1};  // of the dates in manifests

// What the store reads leniently, because it stands in files, is refused from a person: the hour
// 24, the second 60, and zones that no place has.
bool plausible(std::string_view text) {
  auto const number = [&](std::size_t at) { return (text[at] - '0') * 10 + (text[at + 1] - '0'); };
  constexpr std::size_t date_length = 10;
  constexpr std::size_t minutes_end = date_length + 6;  // "2026-04-24T02:00"
  if (text.size() == date_length) return true;
  if (number(date_length + 1) > 23) return false;
  if (text.size() > minutes_end && text[minutes_end] == ':' && number(minutes_end + 1) > 59) {
    return false;
  }
  auto const zone = text.find_first_of("+-", date_length);
  if (zone == std::string_view::npos) return true;
  auto const minutes = text[zone + 3] == ':' ? zone + 4 : zone + 3;
  return number(zone + 1) <= 14 && number(minutes) <= 59;
}

clock_source::wall moment(std::string const& option, std::string const& text) {
  auto const seconds = iso_seconds(text);
  if (!seconds || !plausible(text)) {
    throw usage_error(format("{}: '{}' is not a date; write 2026-04-24 or 2026-04-24T02:00:00Z",
                             option, printable(text, shown_max)));
  }
  // The clock counts nanoseconds in 64 bits.
  constexpr std::int64_t most =
      std::chrono::sys_days(std::chrono::year(2262) / 1 / 1).time_since_epoch().count() * 86400LL;
  if (*seconds < 0 || *seconds >= most) {
    throw usage_error(format("{}: '{}' is not between 1970 and 2261", option, text));
  }
  return clock_source::wall(std::chrono::seconds(*seconds));
}

}  // namespace

std::uint64_t parse_size(std::string const& option, std::string const& text) {
  std::uint64_t value = 0;
  auto const* const end = text.data() + text.size();
  auto const [rest, failed] = std::from_chars(text.data(), end, value);
  std::uint64_t factor = 1;
  std::string_view const suffix(rest, static_cast<std::size_t>(end - rest));
  if (suffix == "K" || suffix == "k" || suffix == "KiB")
    factor = kibi;
  else if (suffix == "M" || suffix == "m" || suffix == "MiB")
    factor = kibi * kibi;
  else if (suffix == "G" || suffix == "g" || suffix == "GiB")
    factor = kibi * kibi * kibi;
  else if (!suffix.empty())
    factor = 0;
  if (failed != std::errc() || factor == 0 || value > ~std::uint64_t{0} / factor) {
    throw usage_error(format("{}: '{}' is not a size; write bytes, or 128K, 1M, 1G", option,
                             printable(text, shown_max)));
  }
  return value * factor;
}

clock_source::wall parse_moment(std::string const& option, std::string const& text) {
  return moment(option, text);
}

clock_source::wall parse_moment_end(std::string const& option, std::string const& text) {
  auto const start = moment(option, text);
  bool const whole_day = text.find_first_of("T ") == std::string::npos;
  return whole_day ? start + std::chrono::days(1) - precision : start;
}

double parse_share(std::string const& option, std::string const& text, double most) {
  auto const number = text.ends_with('%') ? text.substr(0, text.size() - 1) : text;
  double value = 0;
  auto const [end, failed] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (failed != std::errc() || end != number.data() + number.size() || !(value >= 0) ||
      value > most) {
    throw usage_error(format("{}: '{}' is not a share; write 5%, from 0 to {}", option,
                             printable(text, shown_max), most));
  }
  return value;
}

double parse_percent(std::string const& option, std::string const& text) {
  auto const number = text.ends_with('%') ? text.substr(0, text.size() - 1) : text;
  double value = 0;
  auto const [end, failed] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (failed != std::errc() || end != number.data() + number.size() || !(value > 0) ||
      value > 100) {
    throw usage_error(format("{}: '{}' is not a share; write 5%, more than 0 and at most 100",
                             option, printable(text, shown_max)));
  }
  return value;
}

std::uint32_t parse_block_size(std::string const& option, std::string const& text) {
  auto const bytes = parse_size(option, text);
  if (bytes < limits::block_bytes_min || bytes > limits::block_bytes_max ||
      bytes % limits::block_bytes_multiple != 0) {
    throw usage_error(format("{}: {} is not a multiple of {} between {} and {}", option, bytes,
                             limits::block_bytes_multiple, limits::block_bytes_min,
                             limits::block_bytes_max));
  }
  return static_cast<std::uint32_t>(bytes);
}

}  // namespace diskdump
