// Whether a block is what its name says, and where it goes if not. Blocking, any thread.
// Internal to src/store.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "codec/digest.hpp"
#include "io/file_system.hpp"
#include "store/block_shelf.hpp"
#include "store/layout.hpp"
#include "store/store_parts.hpp"

namespace diskdump {

// What a stored frame decodes to.
[[nodiscard]] block_condition decode_block(block_id const& id, byte_view frame);

// The same for many: they are decompressed as they come and hashed several at once, which takes
// half the time (sha256_each). One thread at a time.
class block_checks {
 public:
  // `frame` is not needed afterwards. REQUIRES: !is_full().
  void add(block_id const& id, byte_view frame);
  [[nodiscard]] bool is_full() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  // What add() was given, in its order, and none of it is here any more. Valid until the next
  // add().
  [[nodiscard]] std::span<block_condition const> take();

 private:
  std::array<block_id, sha256_at_once> ids_;
  std::array<byte_view, sha256_at_once> contents_;  // of those that decompressed
  std::array<block_condition, sha256_at_once> conditions_;
  std::size_t count_ = 0;
  std::size_t used_bytes_ = 0;  // of the thread's buffer
};

// A block's file as it lies there, or why it cannot be one. A file that may not be read, or a
// failure that says nothing about the block, is thrown.
[[nodiscard]] std::variant<byte_vector, block_condition> read_block_file(file_system& files,
                                                                         store_layout const& layout,
                                                                         block_id const& id);

// Reads, decompresses and hashes; throws as above.
[[nodiscard]] block_condition examine_block(file_system& files, store_layout const& layout,
                                            block_id const& id);

// Moves a block's file to quarantine and returns its new path in `files`. REQUIRES: repair.lock is
// held, and the file was found bad under it: otherwise a good copy, just put, might be moved.
std::string move_to_quarantine(file_system& files, store_layout const& layout, block_id const& id);

// It holds so many copies of one block that there is no name left.
[[nodiscard]] error too_many_in_quarantine(store_layout const& layout);

// Takes a block that was found bad, or that is not there, out of the index and its bytes to
// quarantine, unless it is good by now. Row first, then bytes: from then on it is missing, and the
// next dump that has the data sends it. Returns the path in quarantine, below .blockstore; nothing
// where there was nothing to keep, or where it is good.
std::optional<std::string> set_aside(store_parts& parts, block_id const& id);

}  // namespace diskdump
