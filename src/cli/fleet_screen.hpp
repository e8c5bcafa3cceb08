// The live view of a fleet as lines: a heading, a line per target at work, the sum of those that do
// not fit, and the total. Pure: figures, columns and rows in, lines out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/fleet_watch.hpp"
#include "cli/screen_line.hpp"

namespace diskdump {

// At most `rows` lines of at most `columns` columns. What is beside label, share and forecast is
// shown as far as there is room for it.
[[nodiscard]] std::vector<screen_line> fleet_screen(fleet_picture const& picture,
                                                    std::size_t columns, std::size_t rows);

// The line of one transfer that is no dump: "web-sda  ████░░░░  45%  310 MB/s  12 s".
[[nodiscard]] screen_line transfer_line(std::string_view label, work_figures const& figures,
                                        std::size_t columns);

// The same for a log: "3 of 100 targets done, 1 failed, 32 at work, 64 queued; 1.2 GiB of …".
[[nodiscard]] std::string fleet_status(fleet_picture const& picture);

// "██████▌░░░", exactly `columns` wide. REQUIRES: share in 0 … 1.
[[nodiscard]] std::string bar(double share, std::size_t columns);

// 0 … 100, and 100 only for all of it.
[[nodiscard]] int percent_of(std::uint64_t part, std::uint64_t whole) noexcept;

}  // namespace diskdump
