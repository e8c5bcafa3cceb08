// A few bits per block, for sets as large as a store: which blocks manifests name (gc), which were
// found bad (verify), which are shared (info). Open addressing in 256 shards: 33 bytes a slot, at
// least half of them used, so at most 66 bytes a block; a shard grows by itself, so growing never
// holds the whole twice. Thread-safe. Internal to src/store and to what reports on a store.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "codec/block_id.hpp"

namespace diskdump {

class block_marks {
 public:
  block_marks();

  // Adds `bits` to those of `id` and returns the ones it had before: 0 for a new id.
  // REQUIRES: bits != 0.
  std::uint8_t add(block_id const& id, std::uint8_t bits = 1);
  // 0 for an id that was never added.
  [[nodiscard]] std::uint8_t of(block_id const& id) const;
  [[nodiscard]] bool contains(block_id const& id) const { return of(id) != 0; }
  // The same for many, in their order: faster than one by one, because the memory is asked for all
  // of them before any is waited for.
  void of(std::span<block_id const> ids, std::span<std::uint8_t> bits) const;
  [[nodiscard]] std::uint64_t size() const;

  // Forgets all of them and gives their memory back.
  void clear();
  // Gives back to the system what growing has left free.
  void trim();

  // In no particular order; `each` must not call this object.
  void for_each(std::function<void(block_id const&, std::uint8_t bits)> const& each) const;

 private:
  struct shard {
    mutable std::mutex mutex;
    std::vector<block_id> ids;
    std::vector<std::uint8_t> bits;  // 0: the slot is free
    std::size_t used = 0;
  };

  [[nodiscard]] std::size_t first_slot_of(shard const& s, block_id const& id) const noexcept;
  [[nodiscard]] std::size_t slot_of(shard const& s, block_id const& id) const noexcept;
  void grow(shard& s) const;
  [[nodiscard]] shard& shard_of(block_id const& id) {
    return shards_[std::to_integer<std::size_t>(id.bytes[0])];
  }
  [[nodiscard]] shard const& shard_of(block_id const& id) const {
    return shards_[std::to_integer<std::size_t>(id.bytes[0])];
  }

  // Secret, so that nobody can make blocks whose digests all fall into one slot.
  std::uint64_t key_;
  std::array<shard, 256> shards_;
};

}  // namespace diskdump
