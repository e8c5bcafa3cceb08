// A bounded queue between two stages, as a sender and a receiver half. Dropping either half wakes
// the other. The end of the stream is said with finish(): a sender that goes away without it has
// failed, and the receiver must not take what it got for the whole.
//
// Both halves belong to one single-threaded executor. One sender; one or more coroutines may
// receive. Nothing sent is lost: a send that completed stays in the queue until received or until
// the receiver is dropped, and a cancelled send did not enqueue.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "async/async_errc.hpp"
#include "async/wait_list.hpp"
#include "base/assert.hpp"

namespace diskdump {

namespace detail {

template <class T>
struct channel_state {
  channel_state(asio::any_io_executor const& executor, std::size_t items_max)
      : capacity(items_max), not_full(executor), not_empty(executor) {}
  std::size_t capacity;
  std::deque<T> items;  // Invariant: items.size() <= capacity.
  bool finished = false;
  bool sender_gone = false;
  bool receiver_gone = false;
  wait_list not_full;
  wait_list not_empty;
};

}  // namespace detail

template <class T>
class sender {
 public:
  sender() = default;
  explicit sender(std::shared_ptr<detail::channel_state<T>> state) : state_(std::move(state)) {}
  sender(sender&&) noexcept = default;
  sender& operator=(sender&& other) noexcept {
    if (this != &other) {
      drop();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~sender() { drop(); }

  // Completes when `item` is in the queue, resuming on the executor. Throws channel_broken when
  // the receiver is gone. One send at a time. Cancelled: the item was not enqueued.
  [[nodiscard]] task<> send(T item) {
    auto const state = state_;
    DISKDUMP_ASSERT(state && !state->finished);
    while (!state->receiver_gone && state->items.size() >= state->capacity) {
      co_await state->not_full.wait();
    }
    if (state->receiver_gone) throw error(async_errc::channel_broken, severity::transient);
    state->items.push_back(std::move(item));
    state->not_empty.wake_one();
  }

  // Enqueues without waiting; false, and `item` untouched, where the queue is full.
  [[nodiscard]] bool try_send(T& item) {
    DISKDUMP_ASSERT(state_ && !state_->finished);
    if (state_->receiver_gone) throw error(async_errc::channel_broken, severity::transient);
    if (state_->items.size() >= state_->capacity) return false;
    state_->items.push_back(std::move(item));
    state_->not_empty.wake_one();
    return true;
  }

  // Nothing more will come, and all is well. The receiver gets what is queued, then the end.
  void finish() {
    DISKDUMP_ASSERT(state_);
    state_->finished = true;
    state_->not_empty.wake_all();
  }

  [[nodiscard]] bool full() const noexcept { return state_->items.size() >= state_->capacity; }

 private:
  void drop() noexcept {
    if (!state_) return;
    state_->sender_gone = true;
    state_->not_empty.wake_all();
    state_.reset();
  }
  std::shared_ptr<detail::channel_state<T>> state_;
};

template <class T>
class receiver {
 public:
  receiver() = default;
  explicit receiver(std::shared_ptr<detail::channel_state<T>> state) : state_(std::move(state)) {}
  receiver(receiver&&) noexcept = default;
  receiver& operator=(receiver&& other) noexcept {
    if (this != &other) {
      drop();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~receiver() { drop(); }

  // Completes with the next item, or nullopt after finish() and the last item, resuming on the
  // executor. Throws channel_broken when the sender went away without finish(). Cancelled: no item
  // was taken.
  [[nodiscard]] task<std::optional<T>> receive() {
    auto const state = state_;
    DISKDUMP_ASSERT(state);
    while (state->items.empty()) {
      if (state->finished) co_return std::nullopt;
      if (state->sender_gone) throw error(async_errc::channel_broken, severity::transient);
      co_await state->not_empty.wait();
    }
    co_return take(*state);
  }

  // The next item if one is queued; never waits.
  [[nodiscard]] std::optional<T> try_receive() {
    DISKDUMP_ASSERT(state_);
    if (state_->items.empty()) return std::nullopt;
    return take(*state_);
  }

  [[nodiscard]] bool empty() const noexcept { return state_->items.empty(); }

 private:
  static std::optional<T> take(detail::channel_state<T>& state) {
    std::optional<T> item(std::move(state.items.front()));
    state.items.pop_front();
    state.not_full.wake_one();
    return item;
  }
  void drop() noexcept {
    if (!state_) return;
    state_->receiver_gone = true;
    state_->items.clear();  // leases in the items go back now
    state_->not_full.wake_all();
    state_.reset();
  }
  std::shared_ptr<detail::channel_state<T>> state_;
};

// REQUIRES: items_max > 0.
template <class T>
[[nodiscard]] std::pair<sender<T>, receiver<T>> make_channel(asio::any_io_executor const& executor,
                                                             std::size_t items_max) {
  DISKDUMP_ASSERT(items_max > 0);
  auto state = std::make_shared<detail::channel_state<T>>(executor, items_max);
  return {sender<T>(state), receiver<T>(state)};
}

}  // namespace diskdump
