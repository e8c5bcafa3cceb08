// The pack backend: blocks in packs that are only ever added to, an SQLite index that says where,
// and epochs between barriers. See FORMAT.md for what is on disk and what a crash can leave.
// Thread-safe. Internal to src/store.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>

#include "store/block_store.hpp"
#include "store/epochs.hpp"
#include "store/pack_files.hpp"
#include "store/pack_writer.hpp"
#include "store/store_parts.hpp"

namespace diskdump {

class pack_store final : public block_store {
 public:
  explicit pack_store(store_parts parts);

  std::vector<bool> missing(std::span<block_id const> ids) override;
  bool put(block_id const& id, byte_view frame) override {
    return put(id, frame, entry_use::block);
  }
  bool put_list(block_id const& id, byte_view frame) override {
    return put(id, frame, entry_use::list);
  }
  void fetch(std::span<block_id const> ids, frame_batch& frames) override;
  void barrier() override;
  void list(std::function<void(stored_block const&)> const& each) override {
    parts_.index->list(each);
  }
  void remove(std::span<block_id const> ids) override;
  bool give_room() noexcept override { return parts_.room && parts_.room->give_up(); }
  store_stats stats() override { return parts_.index->stats(); }
  store_properties const& properties() const noexcept override { return parts_.properties; }

 private:
  // Where a block is that has no row yet.
  struct fresh_block {
    std::uint64_t stored_bytes = 0;
    block_place place;
  };
  using flush_result = epochs<fresh_block>::flush_result;

  bool put(block_id const& id, byte_view frame, entry_use use);
  [[nodiscard]] flush_result flush(epochs<fresh_block>::epoch const& blocks);
  // Where these blocks are, each in its place; they can be read there.
  [[nodiscard]] std::vector<std::optional<stored_block>> places_of(std::span<block_id const> ids);
  [[nodiscard]] static std::optional<byte_view> frame_in(byte_view bytes,
                                                         stored_block const& block);
  void fetch_moved(block_id const& id, std::size_t at, frame_batch& frames);

  store_parts parts_;
  pack_files files_;
  std::optional<pack_writer> writer_;  // none when read-only
  epochs<fresh_block> epochs_;
  // By digest: one thread at a time puts a block, so that no two put it twice.
  std::array<std::mutex, 64> putting_;
};

}  // namespace diskdump
