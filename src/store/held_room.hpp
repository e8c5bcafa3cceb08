// Room on the disk that a store keeps back while blocks are written to it. Blocks fill a file
// system to its last byte; the rows of those that are stored, and the manifests of images that need
// no block more, then still have somewhere to go. Thread-safe. Internal to src/store.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "io/file_system.hpp"
#include "store/scratch.hpp"
#include "store/store_error.hpp"

namespace diskdump {

class held_room {
 public:
  // Both outlive this object. The room is a file of `scratch`, whose remains the next open removes.
  // `shown` is what people are told is full.
  held_room(file_system& files, scratch_folder& scratch, std::string shown)
      : files_(files), scratch_(scratch), shown_(std::move(shown)) {}

  // Before a block is written. The first call takes the room: limits::held_room_bytes_max, or a
  // part of what is free where that is little. Throws store_full once the room was given up, until
  // somebody has made as much and more free.
  void before_block() { before(std::nullopt); }

  // Before a list of digests, a block that belongs to a manifest. Lists may go into the room that
  // was given up, together into a part of it: the rest is for rows.
  void before_list(std::uint64_t bytes) { before(bytes); }

  // True where what could not be written for want of room is worth another try.
  bool give_up() noexcept;

  // For what is no block: runs `write`, once more where the room helps.
  template <class Write>
  void use(Write const& write) {
    try {
      write();
    } catch (error const& failure) {
      if (failure.code() != store_errc::store_full || !give_up()) throw;
      write();
    }
  }

 private:
  enum class state : std::uint8_t {
    untaken,
    held,
    given_up,
    none,  // the file system promises no room
  };

  void before(std::optional<std::uint64_t> list_bytes);

  file_system& files_;
  scratch_folder& scratch_;
  std::string shown_;
  std::mutex mutex_;
  std::atomic<state> state_{state::untaken};
  std::string path_;
  std::uint64_t bytes_ = 0;
  std::uint64_t for_lists_bytes_ = 0;  // of what was given up, and is not taken yet
};

}  // namespace diskdump
