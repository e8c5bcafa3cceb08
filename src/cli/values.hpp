// Values as people write them on the command line. Pure functions; each throws usage_error with
// the option's name and what would be right.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.hpp"

namespace diskdump {

// 131072, 128K, 1M, 1G: bytes, or binary multiples.
[[nodiscard]] std::uint64_t parse_size(std::string const& option, std::string const& text);

// The same, for what a block may have.
[[nodiscard]] std::uint32_t parse_block_size(std::string const& option, std::string const& text);

// An ISO 8601 date, with or without time and zone (UTC where none is given), from 1970 to 2261.
// A date without a time is its first second.
[[nodiscard]] clock_source::wall parse_moment(std::string const& option, std::string const& text);
// The same, but a date without a time is its last second.
[[nodiscard]] clock_source::wall parse_moment_end(std::string const& option,
                                                  std::string const& text);

// "5%" or "5": from 0 to `most`.
[[nodiscard]] double parse_share(std::string const& option, std::string const& text, double most);

// "5%" or "5": more than 0, at most 100.
[[nodiscard]] double parse_percent(std::string const& option, std::string const& text);

}  // namespace diskdump
