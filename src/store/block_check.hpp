// Whether a block's file holds what its name says, and where it goes if not. Blocking, any thread.
// Internal to src/store.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "io/file_system.hpp"
#include "store/layout.hpp"
#include "store/loose_parts.hpp"

namespace diskdump {

struct block_condition {
  enum class kind : std::uint8_t { good, damaged, truncated, empty, unreadable, absent };
  kind what = kind::good;
  std::string detail;  // for people, where it is not good
  std::uint64_t stored_bytes = 0;
  std::uint64_t content_bytes = 0;

  [[nodiscard]] bool good() const noexcept { return what == kind::good; }
  [[nodiscard]] bool bad() const noexcept { return what != kind::good && what != kind::absent; }
};

// Reads, decompresses and hashes. A file that may not be read, or a failure that says nothing about
// the block, is thrown.
[[nodiscard]] block_condition examine_block(file_system& files, store_layout const& layout,
                                            block_id const& id);

// Moves a block's file to quarantine and returns its new path in `files`. REQUIRES: repair.lock is
// held, and the file was found bad under it: otherwise a good copy, just put, might be moved.
std::string move_to_quarantine(file_system& files, store_layout const& layout, block_id const& id);

// Takes a block that was found bad, or without a file, out of the index and its file to quarantine,
// unless it is good by now. Row first, then file: from then on it is missing, and the next dump
// that has the data sends it. Returns the file's new path below .blockstore; nothing where there
// was no file, or where it is good.
std::optional<std::string> set_aside(loose_parts& parts, block_id const& id);

}  // namespace diskdump
