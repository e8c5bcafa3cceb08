// Stored frames of several blocks, as block_store::fetch() gives them. Kept by who asks and used
// again from call to call, so that nothing is allocated or zeroed for a block. One thread at a
// time.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.hpp"

namespace diskdump {

class frame_batch {
 public:
  // Forgets all frames: `count` places without one. What was returned before is no longer valid.
  void reset(std::size_t count);

  // Memory for `bytes` bytes, whose content is anything, valid until reset().
  [[nodiscard]] byte_span room(std::size_t bytes);

  // Puts a frame into its place. `frame` lies in a room().
  void set(std::size_t at, byte_view frame) { frames_.at(at) = frame; }
  void set_copy(std::size_t at, byte_view frame);

  [[nodiscard]] std::size_t size() const noexcept { return frames_.size(); }
  // nullopt where the store lacks the block. Valid until reset().
  [[nodiscard]] std::optional<byte_view> operator[](std::size_t at) const { return frames_.at(at); }

 private:
  struct chunk {
    std::unique_ptr<std::byte[]> memory;
    std::size_t size_bytes = 0;
    std::size_t used_bytes = 0;
  };

  std::vector<std::optional<byte_view>> frames_;
  std::vector<chunk> chunks_;
};

}  // namespace diskdump
