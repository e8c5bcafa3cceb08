#include "store/manifest_name.hpp"

#include <algorithm>
#include <chrono>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "store/manifest.hpp"

namespace diskdump {

namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// A decimal number that version numbers can be: no leading zero, 1 to the most versions of a day.
std::optional<std::uint32_t> version_number(std::string_view text) noexcept {
  if (text.empty() || text.size() > 6 || text[0] == '0') return std::nullopt;
  std::uint32_t value = 0;
  for (char const c : text) {
    if (!is_digit(c)) return std::nullopt;
    value = value * 10 + static_cast<std::uint32_t>(c - '0');
  }
  if (value > limits::manifest_versions_per_day_max) return std::nullopt;
  return value;
}

// Takes exactly `digits` digits off the front of `text`.
std::optional<int> take_number(std::string_view& text, std::size_t digits) noexcept {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  for (char const c : text.substr(0, digits)) {
    if (!is_digit(c)) return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool take_char(std::string_view& text, char c) noexcept {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

// "HH:MM[:SS[.fraction]]", then "Z", "+HH:MM", "-HH:MM" or nothing, to seconds.
std::optional<std::int64_t> time_seconds(std::string_view text) noexcept {
  auto const hour = take_number(text, 2);
  if (!hour || !take_char(text, ':')) return std::nullopt;
  auto const minute = take_number(text, 2);
  if (!minute) return std::nullopt;
  int second = 0;
  if (take_char(text, ':')) {
    auto const taken = take_number(text, 2);
    if (!taken) return std::nullopt;
    second = *taken;
    if (take_char(text, '.')) {
      while (!text.empty() && is_digit(text[0])) text.remove_prefix(1);
    }
  }
  if (*hour > 24 || *minute > 59 || second > 60) return std::nullopt;
  std::int64_t const seconds = *hour * 3600 + *minute * 60 + second;
  if (text.empty() || text == "Z") return seconds;
  int const sign = text[0] == '+' ? -1 : 1;  // east of Greenwich it is earlier in UTC
  if (!take_char(text, '+') && !take_char(text, '-')) return std::nullopt;
  auto const zone_hour = take_number(text, 2);
  (void)take_char(text, ':');
  auto const zone_minute = take_number(text, 2);
  if (!zone_hour || !zone_minute || !text.empty()) return std::nullopt;
  return seconds + sign * (*zone_hour * 3600 + *zone_minute * 60);
}

error bad_name(std::string_view name, std::string_view cause) {
  return error(store_errc::bad_name, severity::permanent)
      .path(printable(name, limits::name_bytes_max))
      .cause(cause)
      .remedy("choose another with --as");
}

}  // namespace

std::string manifest_stem(std::string_view name, std::uint32_t version) {
  bool const explicit_version = version != 1 || parse_manifest_stem(name).name != name;
  return explicit_version ? format("{}.{}", name, version) : std::string(name);
}

manifest_version parse_manifest_stem(std::string_view stem) {
  auto const dot = stem.rfind('.');
  if (dot != std::string_view::npos && dot > 0) {
    if (auto const version = version_number(stem.substr(dot + 1))) {
      return {std::string(stem.substr(0, dot)), *version};
    }
  }
  return {std::string(stem), 1};
}

std::optional<std::int64_t> iso_seconds(std::string_view date) noexcept {
  auto const year = take_number(date, 4);
  if (!year || !take_char(date, '-')) return std::nullopt;
  auto const month = take_number(date, 2);
  if (!month || !take_char(date, '-')) return std::nullopt;
  auto const day = take_number(date, 2);
  if (!day) return std::nullopt;
  std::chrono::year_month_day const ymd{std::chrono::year(*year),
                                        std::chrono::month(static_cast<unsigned>(*month)),
                                        std::chrono::day(static_cast<unsigned>(*day))};
  if (!ymd.ok()) return std::nullopt;
  std::int64_t const midnight = std::chrono::sys_days(ymd).time_since_epoch().count() * 86400LL;
  if (date.empty()) return midnight;
  if (!take_char(date, 'T') && !take_char(date, ' ')) return std::nullopt;
  auto const time = time_seconds(date);
  if (!time) return std::nullopt;
  return midnight + *time;
}

void check_manifest_name(std::string_view name) {
  if (name.empty()) throw bad_name(name, "it is empty");
  if (name.size() > limits::name_bytes_max) {
    throw bad_name(name, format("it is longer than {} bytes", limits::name_bytes_max));
  }
  if (name.front() == '.') throw bad_name(name, "it starts with a dot");
  for (unsigned char const c : name) {
    if (c == '/') throw bad_name(name, "it holds a slash");
    if (c < 0x20 || c == 0x7f) throw bad_name(name, "it holds a control character");
  }
  if (name.ends_with(manifest_suffix)) throw bad_name(name, "it ends in \".manifest\"");
  // NAME~1 means the dump before the newest one of NAME.
  auto const tilde = name.rfind('~');
  if (tilde != std::string_view::npos &&
      std::all_of(name.begin() + static_cast<std::ptrdiff_t>(tilde) + 1, name.end(), is_digit)) {
    throw bad_name(name, "it ends like NAME~1, which means the dump before the newest");
  }
}

std::string default_manifest_name(std::string_view host, std::string_view path) {
  if (path.starts_with("/dev/")) path.remove_prefix(5);
  std::string name(host);
  name += '-';
  // Slashes at either end say nothing, and several in a row are one.
  bool separator = false;
  bool started = false;
  for (char const c : path) {
    if (c == '/') {
      separator = started;
      continue;
    }
    if (separator) name += '.';
    separator = false;
    started = true;
    name += c;
  }
  check_manifest_name(name);
  return name;
}

}  // namespace diskdump
