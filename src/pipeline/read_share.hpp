// What all agents of a dump may read together, divided equally among those that read: each one is
// told its share when it starts, and the new one when another target comes or goes. The sum never
// exceeds the limit for longer than it takes the agents to hear of a change.
//
// Single-threaded: all calls come from the event loop's thread.
#pragma once

#include <cstdint>
#include <vector>

namespace diskdump {

// A target as the share sees it.
class sharing_reader {
 public:
  virtual ~sharing_reader() = default;
  // Called from within join() and leave(); must not call back into the share.
  virtual void share_changed(std::uint64_t bytes_per_s) = 0;
};

class read_share {
 public:
  // REQUIRES: total_bytes_per_s > 0.
  explicit read_share(std::uint64_t total_bytes_per_s);
  ~read_share();  // Invariant: nobody reads any more.
  read_share(read_share const&) = delete;
  read_share& operator=(read_share const&) = delete;

  // `who` begins to read; it is told its share, like all others. REQUIRES: it has not joined.
  void join(sharing_reader& who);
  // `who` reads no more; nothing where it did not.
  void leave(sharing_reader& who);

  [[nodiscard]] std::uint64_t total_bytes_per_s() const noexcept { return total_bytes_per_s_; }

 private:
  void divide();

  std::uint64_t total_bytes_per_s_;
  std::vector<sharing_reader*> readers_;
};

}  // namespace diskdump
