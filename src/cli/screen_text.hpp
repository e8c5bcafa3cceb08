// Text for a terminal: what it may contain, how many columns it takes, and how it is cut. All of it
// UTF-8; pure functions, any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace diskdump {

// Between the columns of a table.
inline constexpr std::size_t column_gap = 2;

// Text from a person or another machine, as a terminal may see it: letters of every script stay,
// control characters, what changes the direction of writing and bytes that are no UTF-8 become
// escapes (\x1b, \u202e). Line ends and tabs become blanks.
[[nodiscard]] std::string screen_text(std::string_view text);

// How many columns a terminal gives it: 2 for most Asian letters, 0 for combining marks. Each byte
// that is no UTF-8 counts as one.
[[nodiscard]] std::size_t columns_of(std::string_view text);

// The longest beginning that fits; no letter is cut in two.
[[nodiscard]] std::string cut_end(std::string_view text, std::size_t columns);

// As it is where it fits; else its beginning, "…", and its end. The end is what tells targets
// apart, so it gets the larger half.
[[nodiscard]] std::string cut_middle(std::string_view text, std::size_t columns);

// Cut in the middle, or filled with blanks on its right or left, to exactly so many columns.
[[nodiscard]] std::string fit_left(std::string_view text, std::size_t columns);
[[nodiscard]] std::string fit_right(std::string_view text, std::size_t columns);

// Broken at blanks into lines of at most so many columns, those after the first indented. A word
// that is longer than a line is broken anywhere. Blanks at a break are left out.
[[nodiscard]] std::vector<std::string> wrapped(std::string_view text, std::size_t columns,
                                               std::size_t indent);

}  // namespace diskdump
