// What became of a fleet, for people: how one target ended, and the table of all. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/fleet_watch.hpp"
#include "cli/screen_line.hpp"

namespace diskdump {

// "host:/dev/sda -> 2026/04/24/host-sda.manifest: 1.0 GiB in 2.1 s …": how a target ended well.
[[nodiscard]] std::string outcome_text(fleet_target const& target);

// The same in a line beside a live view: "done  host:/dev/sda: 1.0 GiB in 2.1 s, 12.0 MiB sent".
[[nodiscard]] screen_line outcome_line(fleet_target const& target, std::size_t columns);

// Why it failed, with the target's name unless the reason itself names host and path.
[[nodiscard]] std::string failure_text(fleet_target const& target);

// Bytes of the image that did not cross the wire.
[[nodiscard]] std::uint64_t bytes_saved(target_progress const& progress) noexcept;

struct summary_options {
  std::uint32_t block_bytes = 0;
  std::chrono::duration<double> elapsed{};
  // 0: as wide as it takes. Else what does not fit is left out, names are cut, reasons are broken.
  std::size_t columns = 0;
};

// First what failed and why, then what was interrupted, then a table of what was done; the last
// line counts and sums. `watch` gives the attempts.
[[nodiscard]] std::vector<screen_line> fleet_summary(std::vector<fleet_target> const& targets,
                                                     fleet_watch const& watch,
                                                     summary_options const& options);

}  // namespace diskdump
