// A line for a terminal as spans of text, some in colour, so that it is cut by columns and not by
// what colours take.
#pragma once

#include <string>
#include <vector>

namespace diskdump {

enum class ink : unsigned char { plain, good, bad };

struct span {
  std::string text;
  ink colour = ink::plain;
};

using screen_line = std::vector<span>;

// At most so many columns; with escape sequences only if `coloured`.
[[nodiscard]] std::string render(screen_line const& line, std::size_t columns, bool coloured);

}  // namespace diskdump
