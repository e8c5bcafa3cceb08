#include "store/null_store.hpp"

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "base/assert.hpp"

namespace diskdump {

namespace {

class null_store final : public block_store {
 public:
  null_store(std::uint32_t block_bytes, null_memory memory)
      : remembers_(memory == null_memory::ids) {
    properties_.format = "null";
    properties_.block_bytes = block_bytes;
  }

  std::vector<bool> missing(std::span<block_id const> ids) override {
    std::vector<bool> answer(ids.size(), true);
    if (!remembers_) return answer;
    std::lock_guard const lock(mutex_);
    for (std::size_t i = 0; i < ids.size(); ++i) answer[i] = !sizes_.contains(ids[i]);
    return answer;
  }

  bool put(block_id const& id, byte_view frame) override {
    DISKDUMP_ASSERT(!frame.empty() && frame.size() <= limits::stored_block_bytes_max);
    auto const bytes = static_cast<std::uint32_t>(frame.size());
    std::lock_guard const lock(mutex_);
    if (remembers_ && !sizes_.try_emplace(id, bytes).second) return false;
    put_ += {1, bytes};
    return true;
  }

  void fetch(std::span<block_id const> ids, frame_batch& frames) override {
    frames.reset(ids.size());
  }

  void barrier() override {
    std::lock_guard const lock(mutex_);
    covered_ = put_;
    for (auto& [id, bytes] : sizes_) bytes |= covered_bit;
  }

  void list(std::function<void(stored_block const&)> const& each) override {
    std::vector<stored_block> found;
    {
      std::lock_guard const lock(mutex_);
      for (auto const& [id, bytes] : sizes_) {
        if ((bytes & covered_bit) != 0) found.push_back({id, bytes & ~covered_bit});
      }
    }
    std::sort(found.begin(), found.end(), [](auto const& a, auto const& b) { return a.id < b.id; });
    for (auto const& block : found) each(block);
  }

  void remove(std::span<block_id const> ids) override {
    std::lock_guard const lock(mutex_);
    for (auto const& id : ids) {
      auto const at = sizes_.find(id);
      if (at == sizes_.end()) continue;
      auto const bytes = at->second & ~covered_bit;
      forget(put_, bytes);
      if (at->second != bytes) forget(covered_, bytes);
      sizes_.erase(at);
    }
  }

  store_stats stats() override {
    std::lock_guard const lock(mutex_);
    return covered_;
  }

  store_properties const& properties() const noexcept override { return properties_; }

 private:
  // Of a frame's size, which is far below 2^31: a barrier covered it.
  static constexpr std::uint32_t covered_bit = 0x8000'0000U;
  static_assert(limits::stored_block_bytes_max < covered_bit);

  static void forget(store_stats& of, std::uint32_t bytes) {
    --of.blocks;
    of.stored_bytes -= bytes;
  }

  bool remembers_;
  store_properties properties_;
  std::mutex mutex_;
  store_stats put_;
  store_stats covered_;  // by a barrier
  std::unordered_map<block_id, std::uint32_t, block_id_hash> sizes_;
};

}  // namespace

std::unique_ptr<block_store> make_null_store(std::uint32_t block_bytes, null_memory memory) {
  return std::make_unique<null_store>(block_bytes, memory);
}

}  // namespace diskdump
