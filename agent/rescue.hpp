// Reading where a disk has bad sectors: what a whole request could not read is read in halves, down
// to the sector, so that nothing readable is given up.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "io/disk.hpp"

namespace diskdump {

struct bad_range {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
  friend bool operator==(bad_range const&, bad_range const&) = default;
};

// Appends, or lengthens the last one where they touch.
void add_bad_range(std::vector<bad_range>& ranges, bad_range added);

// Completes when the buffers hold what the source has at `offset_bytes`, resuming on the disk's
// executor. What stays unreadable is filled with zeros and appended to `bad`. Throws
// agent_errc::source_shrank where the source ends within the first `wanted_bytes`, and
// agent_errc::read_failed for failures that no smaller request can get around. Cancelled as
// disk::read. Several at once with buffers of their own.
// REQUIRES: alignment as the disk asks for; wanted_bytes <= the buffers' sum.
[[nodiscard]] task<> read_or_zero(disk& source, std::uint64_t offset_bytes,
                                  std::span<byte_span const> buffers, std::uint64_t wanted_bytes,
                                  std::vector<bad_range>& bad);

}  // namespace diskdump
