#include "store/held_room.hpp"

#include <algorithm>
#include <cerrno>

#include "base/limits.hpp"

namespace diskdump {

void held_room::before(std::optional<std::uint64_t> list_bytes) {
  auto const now = state_.load(std::memory_order_acquire);
  if (now == state::held || now == state::none) return;
  std::lock_guard const lock(mutex_);
  auto const free_bytes = files_.room_bytes();
  switch (state_.load(std::memory_order_relaxed)) {
    case state::held:
    case state::none:
      return;
    case state::untaken:
      bytes_ = std::min(limits::held_room_bytes_max, free_bytes / limits::held_room_part);
      path_ = scratch_.next_path();
      // Where there is none to be had, blocks are written all the same: as far as they go.
      state_ = bytes_ > 0 && files_.hold_room(path_, bytes_) ? state::held : state::none;
      return;
    case state::given_up:
      // What was just given up is not taken back: it is for others than blocks.
      if (free_bytes / 2 >= bytes_ && files_.hold_room(path_, bytes_)) {
        state_ = state::held;
        return;
      }
      if (list_bytes && *list_bytes <= for_lists_bytes_) {
        for_lists_bytes_ -= *list_bytes;
        return;
      }
      throw cannot_write(ENOSPC, "keep back room for the index", shown_);
  }
}

bool held_room::give_up() noexcept {
  std::lock_guard const lock(mutex_);
  if (state_ != state::held) return state_ == state::given_up;
  try {
    (void)files_.remove(path_);
  } catch (std::exception const&) {
    return false;
  }
  state_ = state::given_up;
  for_lists_bytes_ = bytes_ / limits::held_room_lists_part;
  return true;
}

}  // namespace diskdump
