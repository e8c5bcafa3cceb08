// A store that keeps no block: it counts what is put, so that a benchmark shows what everything but
// storing costs. Any thread.
//
// No store on disk is of this kind: open_store() and config.json know nothing of it, so that nobody
// dumps into it. What is put here cannot be read again: get() has nothing, ever.
#pragma once

#include <cstdint>
#include <memory>

#include "store/block_store.hpp"

namespace diskdump {

enum class null_memory : std::uint8_t {
  // missing() answers truthfully for what was put: the ids are remembered, 76 bytes each.
  ids,
  // Nothing is remembered, in constant memory: every block is missing, and every put is new.
  nothing,
};

// stats() and list() tell of the blocks that a barrier covered, as with every store; those of
// null_memory::nothing are counted as often as they were put, and are not listed.
[[nodiscard]] std::unique_ptr<block_store> make_null_store(std::uint32_t block_bytes,
                                                           null_memory memory = null_memory::ids);

}  // namespace diskdump
