// What was put since the last barrier, and barriers that several callers share. An epoch is what
// lies between two barriers: its blocks count as held in this process and nowhere else. While one
// epoch is made durable, the next one fills. Thread-safe. Internal to the stores.
//
// Invariant: a block that add() took is in an epoch until its barrier is over and it has a row.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "base/limits.hpp"
#include "store/block_store.hpp"

namespace diskdump {

// `Block` has a member `stored_bytes`.
template <class Block>
class epochs {
 public:
  using epoch = std::unordered_map<block_id, Block, block_id_hash>;

  struct flush_result {
    std::optional<error> failure;
    bool lost = false;  // the blocks themselves, not only their rows
  };

  enum class added : std::uint8_t {
    is_new,
    is_known,
    is_new_and_full,  // and it is time for a barrier
  };

  // Throws what made an earlier epoch be lost, if one was: nobody can tell who relied on it.
  void throw_if_lost() const {
    std::lock_guard const lock(mutex_);
    if (lost_) throw *lost_;
  }

  [[nodiscard]] std::optional<Block> find(block_id const& id) const {
    std::lock_guard const lock(mutex_);
    for (auto const* const blocks : {&current_, &flushing_}) {
      if (auto const at = blocks->find(id); at != blocks->end()) return at->second;
    }
    return std::nullopt;
  }
  [[nodiscard]] bool contains(block_id const& id) const {
    std::lock_guard const lock(mutex_);
    return current_.contains(id) || flushing_.contains(id);
  }
  // Sets answer[i] to false for each id of an epoch. Asked before the index: a block leaves its
  // epoch only when its row can be seen.
  void find(std::span<block_id const> ids, std::vector<bool>& answer) const {
    std::lock_guard const lock(mutex_);
    if (current_.empty() && flushing_.empty()) return;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (current_.contains(ids[i]) || flushing_.contains(ids[i])) answer[i] = false;
    }
  }

  // Throws like throw_if_lost(). A block whose barrier runs now is known, unless `anew`: what
  // stands for it is younger than that barrier.
  added add(block_id const& id, Block block, bool anew) {
    std::lock_guard const lock(mutex_);
    if (lost_) throw *lost_;
    auto const stored_bytes = block.stored_bytes;
    if ((!anew && flushing_.contains(id)) || !current_.try_emplace(id, std::move(block)).second) {
      return added::is_known;
    }
    current_bytes_ += stored_bytes;
    bool const full =
        current_.size() >= limits::epoch_blocks_max || current_bytes_ >= limits::epoch_bytes_max;
    return full ? added::is_new_and_full : added::is_new;
  }

  // When it returns, every block that was added before the call has been through `flush`, which is
  // called without a lock, by one caller at a time for all who wait, with blocks that do not change
  // meanwhile. A failure is thrown to each of them; if blocks were lost, from then on to everybody.
  void barrier(std::function<flush_result(epoch const&)> const& flush) {
    std::unique_lock lock(mutex_);
    if (lost_) throw *lost_;
    std::shared_ptr<run> mine;
    if (!current_.empty()) {
      if (!next_) next_ = std::make_shared<run>();
      mine = next_;
    } else {
      mine = active_;  // our blocks may be in it
    }
    if (!mine) return;
    run_ended_.wait(lock, [&] { return mine->done || !active_; });
    // The run that was waited for may have lost its blocks, and ours with them.
    if (!mine->done && lost_) throw *lost_;
    if (!mine->done) lead(lock, mine, flush);
    if (mine->failure) throw *mine->failure;
  }

  // Forgets these blocks, then runs `action` as a barrier of its own: no other one runs meanwhile,
  // which would give them their rows back.
  void remove(std::span<block_id const> ids, std::function<void()> const& action) {
    std::unique_lock lock(mutex_);
    run_ended_.wait(lock, [&] { return !active_; });
    auto const mine = std::make_shared<run>();
    active_ = mine;
    for (auto const& id : ids) {
      auto const at = current_.find(id);
      if (at == current_.end()) continue;
      current_bytes_ -= at->second.stored_bytes;
      current_.erase(at);
    }
    lock.unlock();
    std::exception_ptr failure;
    try {
      action();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    mine->done = true;
    active_.reset();
    run_ended_.notify_all();
    if (failure) std::rethrow_exception(failure);
  }

 private:
  // One barrier, shared by all who wait for it.
  struct run {
    bool done = false;
    std::optional<error> failure;
  };

  // Runs the barrier that `mine` stands for, for everyone who joined it.
  // REQUIRES: the lock is held, no run is active, mine == next_.
  void lead(std::unique_lock<std::mutex>& lock, std::shared_ptr<run> const& mine,
            std::function<flush_result(epoch const&)> const& flush) {
    DISKDUMP_ASSERT(!active_ && flushing_.empty() && mine == next_);
    active_ = std::move(next_);
    next_.reset();
    flushing_ = std::move(current_);
    current_.clear();
    current_bytes_ = 0;
    lock.unlock();

    auto const result = flush(flushing_);  // nobody else changes it while a run is active

    lock.lock();
    if (result.lost) {
      lost_ = result.failure;
      current_.clear();
      current_bytes_ = 0;
    } else if (result.failure) {
      // The blocks are durable, only the rows are not there: the next run writes them.
      for (auto const& [id, block] : flushing_) {
        if (current_.try_emplace(id, block).second) current_bytes_ += block.stored_bytes;
      }
    }
    flushing_.clear();
    mine->failure = result.failure;
    mine->done = true;
    active_.reset();
    run_ended_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable run_ended_;
  epoch current_;
  std::uint64_t current_bytes_ = 0;
  epoch flushing_;
  std::shared_ptr<run> active_;  // the run that works on flushing_
  std::shared_ptr<run> next_;    // the run that will take current_
  std::optional<error> lost_;    // set for good when blocks of an epoch were lost
};

}  // namespace diskdump
