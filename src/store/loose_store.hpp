// The loose backend: one file per block, an SQLite index, and epochs between barriers. See
// FORMAT.md for what is on disk and what a crash can leave. Thread-safe. Internal to src/store.
//
// An epoch is what was put since the last barrier: whole files under their final names that a power
// cut can still tear. They count as held in this process and nowhere else.
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "store/block_store.hpp"
#include "store/epochs.hpp"
#include "store/store_parts.hpp"

namespace diskdump {

class loose_store final : public block_store {
 public:
  explicit loose_store(store_parts parts) : parts_(std::move(parts)) {}

  std::vector<bool> missing(std::span<block_id const> ids) override;
  bool put(block_id const& id, byte_view frame) override;
  void fetch(std::span<block_id const> ids, frame_batch& frames) override;
  void barrier() override;
  void list(std::function<void(stored_block const&)> const& each) override;
  void remove(std::span<block_id const> ids) override;
  bool give_room() noexcept override { return parts_.room && parts_.room->give_up(); }
  store_stats stats() override { return parts_.index->stats(); }
  store_properties const& properties() const noexcept override { return parts_.properties; }

 private:
  struct fresh_block {
    std::uint64_t stored_bytes = 0;
    bool created = false;  // by us; otherwise found there, whole but unknown to the index
    // Of a found block: our own copy, in case the other one is taken away before it has its row.
    std::string spare = {};
  };
  using epoch = epochs<fresh_block>::epoch;
  using flush_result = epochs<fresh_block>::flush_result;

  enum class found : std::uint8_t { absent, good, bad };
  enum class settled : std::uint8_t { created, rescued, known };

  [[nodiscard]] bool put_block(block_id const& id, byte_view frame);
  [[nodiscard]] std::string shown(std::string const& hex) const;  // a block's path for messages
  [[nodiscard]] settled place(block_id const& id, std::string const& hex, bool absolved,
                              std::string const& temporary);
  void remove_temporary(std::string const& path) noexcept;
  [[nodiscard]] bool rename_into_place(std::string const& hex, std::string const& temporary);
  [[nodiscard]] bool replace_bad(block_id const& id, std::string const& hex,
                                 std::string const& temporary);
  [[nodiscard]] found examine(block_id const& id);
  void make_folder(std::string const& hex);

  [[nodiscard]] flush_result flush(epoch const& blocks);
  void secure_found_blocks(epoch const& blocks);
  void discard(epoch const& blocks) noexcept;

  store_parts parts_;
  epochs<fresh_block> epochs_;

  // A folder once made is not made again; 64 KiB.
  std::array<std::atomic<bool>, 65536> folders_made_{};

  std::mutex repair_mutex_;
};

}  // namespace diskdump
