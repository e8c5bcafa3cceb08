// What the manifests of one run leave of the store's disk. A target says what it likes of its size,
// and holes cost it nothing to announce; their lines are 65 bytes each in a store of files. One
// image is refused for more than half of what is free; several together could take all of it, and
// the last byte would be lacking to those that are honest. So what is free is looked at as lines
// are written, and where less than a reserve is left of it the largest manifest is given up: its
// target fails, its lines are removed, and the others go on.
//
// Counted is what is written, and not what sizes would come to: a sparse disk of many TiB is an
// honest one. Lists, which stores of packs have, are not counted: equal ones are there once, and
// others cost a target as many bytes on the wire.
//
// Single-threaded: all calls come from the event loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "async/offload.hpp"
#include "async/wait_list.hpp"

namespace diskdump {

class manifest_room {
 public:
  // How many bytes are free where manifests are written; none: nobody knows. Blocking.
  using free_bytes = std::function<std::optional<std::uint64_t>()>;

  // Looks at once, which is when the run begins. Where nobody knows, nothing is bounded.
  manifest_room(asio::any_io_executor executor, worker_pool& writers, free_bytes look);
  ~manifest_room();  // Invariant: no share is left.
  manifest_room(manifest_room const&) = delete;
  manifest_room& operator=(manifest_room const&) = delete;

  // One manifest, from its first line until it has its name or is gone, over all attempts. The room
  // outlives it.
  class share {
   public:
    explicit share(manifest_room& room);
    ~share();
    share(share const&) = delete;
    share& operator=(share const&) = delete;

    // It has so many bytes now: another attempt begins, and tells again what lies behind them.
    void restart(std::uint64_t bytes);
    // Completes when there is room for so many bytes more, resuming on the executor; waits while
    // another manifest is being removed. Throws no_room_for_manifest when it is this one that is to
    // go. Cancelled: throws, nothing was taken.
    [[nodiscard]] task<> take(std::uint64_t bytes);
    // Never completes; throws no_room_for_manifest when this manifest is to go, or when cancelled.
    [[nodiscard]] task<> watch();
    // No lines are added for now: there is nothing that could be given up.
    void pause();
    // Its lines are gone.
    void removed();
    // It stays in the store when this is gone.
    void keep() noexcept { kept_ = true; }
    [[nodiscard]] bool given_up() const noexcept { return given_up_; }
    [[nodiscard]] error no_room() const;

   private:
    friend class manifest_room;
    manifest_room& room_;
    std::uint64_t bytes_ = 0;
    bool at_work_ = false;
    bool given_up_ = false;
    bool kept_ = false;
    wait_list told_;
  };

 private:
  enum class finding : std::uint8_t { enough, wait, give_up };
  [[nodiscard]] bool enough_as_looked(std::uint64_t bytes);
  [[nodiscard]] finding judge(share& who, std::uint64_t free);

  asio::any_io_executor executor_;
  worker_pool& writers_;
  free_bytes look_;
  bool bounded_ = false;
  std::uint64_t free_at_first_ = 0;
  std::uint64_t free_ = 0;  // as of the last look
  std::uint64_t reserve_ = 0;
  std::uint64_t step_ = 0;   // of bytes, from one look to the next
  std::uint64_t taken_ = 0;  // since the last look
  // Of manifests that were removed: file systems give space back some time later.
  std::uint64_t coming_back_ = 0;
  std::uint64_t kept_ = 0;      // by manifests that have ended
  std::vector<share*> shares_;  // at most one for each target
  wait_list gone_;              // woken when one that was given up is removed
};

}  // namespace diskdump
