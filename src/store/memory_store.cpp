// The block store in memory: the conformance suite's second backend, and the store of pipeline
// tests. What no barrier covered yet counts as held here, but is not in the index.
#include <map>
#include <mutex>

#include "base/assert.hpp"
#include "store/block_store.hpp"

namespace diskdump {

namespace {

class memory_store final : public block_store {
 public:
  explicit memory_store(std::uint32_t block_bytes) {
    properties_.format = "memory";
    properties_.block_bytes = block_bytes;
  }

  std::vector<bool> missing(std::span<block_id const> ids) override {
    std::lock_guard const lock(mutex_);
    std::vector<bool> answer(ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) answer[i] = !blocks_.contains(ids[i]);
    return answer;
  }

  bool put(block_id const& id, byte_view frame) override {
    DISKDUMP_ASSERT(!frame.empty() && frame.size() <= limits::stored_block_bytes_max);
    std::lock_guard const lock(mutex_);
    auto const [at, added] = blocks_.try_emplace(id);
    if (added) at->second.frame.assign(frame.begin(), frame.end());
    return added;
  }

  void fetch(std::span<block_id const> ids, frame_batch& frames) override {
    frames.reset(ids.size());
    std::lock_guard const lock(mutex_);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      auto const at = blocks_.find(ids[i]);
      if (at != blocks_.end()) frames.set_copy(i, at->second.frame);
    }
  }

  void barrier() override {
    std::lock_guard const lock(mutex_);
    for (auto& [id, block] : blocks_) block.indexed = true;
  }

  void list(std::function<void(stored_block const&)> const& each) override {
    std::vector<stored_block> found;
    {
      std::lock_guard const lock(mutex_);
      for (auto const& [id, block] : blocks_) {
        if (block.indexed) found.push_back({id, block.frame.size()});
      }
    }
    for (auto const& block : found) each(block);
  }

  void remove(std::span<block_id const> ids) override {
    std::lock_guard const lock(mutex_);
    for (auto const& id : ids) blocks_.erase(id);
  }

  store_stats stats() override {
    std::lock_guard const lock(mutex_);
    store_stats total;
    for (auto const& [id, block] : blocks_) {
      if (!block.indexed) continue;
      total += {1, block.frame.size()};
    }
    return total;
  }

  store_properties const& properties() const noexcept override { return properties_; }

 private:
  struct held_block {
    byte_vector frame;
    bool indexed = false;
  };

  store_properties properties_;
  std::mutex mutex_;
  std::map<block_id, held_block> blocks_;
};

}  // namespace

std::unique_ptr<block_store> make_memory_store(std::uint32_t block_bytes) {
  return std::make_unique<memory_store>(block_bytes);
}

}  // namespace diskdump
