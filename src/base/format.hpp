// The one place that includes fmt. Header-only, so that the static agent needs no libfmt.a, which
// Debian does not ship.
#pragma once

#ifndef FMT_HEADER_ONLY
#define FMT_HEADER_ONLY
#endif
// Without this fmt links std::locale with all its facets: 0.5 MB of the agent, for "{:L}" alone.
#define FMT_STATIC_THOUSANDS_SEPARATOR ','
#include <fmt/format.h>

#include <string>
#include <utility>

namespace diskdump {

// An object and not a function: where the standard library has std::format, an argument of a type
// of std would bring that in by its name, and the call would be ambiguous.
struct format_function {
  template <class... Args>
  [[nodiscard]] std::string operator()(fmt::format_string<Args...> pattern, Args&&... args) const {
    return fmt::format(pattern, std::forward<Args>(args)...);
  }
};
inline constexpr format_function format;

}  // namespace diskdump
