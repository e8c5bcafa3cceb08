// What direct writes (O_DIRECT) of any bytes need: memory that they take, and a file system in
// which they are worth it. Internal to src/io.
#pragma once

#include <cstdlib>
#include <memory>
#include <mutex>

#include "base/bytes.hpp"

namespace diskdump {

// Memory that O_DIRECT takes, one for all files of a file system, used by one at a time.
class direct_buffer {
 public:
  direct_buffer();
  [[nodiscard]] byte_span bytes() noexcept;
  std::mutex mutex;

 private:
  struct free_memory {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };
  std::unique_ptr<std::byte, free_memory> memory_;
};

// Whether large writes past the page cache are a gain in the file system that `file` lies in.
[[nodiscard]] bool gains_by_direct_writes(int file) noexcept;

}  // namespace diskdump
