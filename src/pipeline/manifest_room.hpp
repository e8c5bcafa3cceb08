// What the manifests of all targets at work may come to take of the store's disk. Holes cost a
// target nothing to announce and a line each to write: several machines that make up their size
// could together fill the disk, though each alone would be let in.
//
// Used on the event loop's thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace diskdump {

class manifest_room {
 public:
  manifest_room() = default;
  manifest_room(manifest_room const&) = delete;
  manifest_room& operator=(manifest_room const&) = delete;

  // Given back when it goes. The room outlives it.
  class part {
   public:
    part() = default;
    part(part&& other) noexcept
        : room_(std::exchange(other.room_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    part& operator=(part&& other) noexcept {
      std::swap(room_, other.room_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~part() {
      if (room_ != nullptr) room_->taken_bytes_ -= bytes_;
    }
    [[nodiscard]] explicit operator bool() const noexcept { return room_ != nullptr; }

   private:
    friend class manifest_room;
    part(manifest_room& room, std::uint64_t bytes) noexcept : room_(&room), bytes_(bytes) {}
    manifest_room* room_ = nullptr;
    std::uint64_t bytes_ = 0;
  };

  // For one target: half of what is free at most, and no more than the others leave. What they have
  // written by now counts twice, which errs on the side of the disk. An empty part: there is no
  // such room.
  [[nodiscard]] part take(std::uint64_t bytes, std::uint64_t free_bytes) noexcept {
    if (bytes > free_bytes / 2 || bytes > free_bytes - std::min(free_bytes, taken_bytes_))
      return {};
    taken_bytes_ += bytes;
    return {*this, bytes};
  }

  [[nodiscard]] std::uint64_t taken_bytes() const noexcept { return taken_bytes_; }

 private:
  std::uint64_t taken_bytes_ = 0;
};

}  // namespace diskdump
