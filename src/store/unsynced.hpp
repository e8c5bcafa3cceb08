// What a dump with --durability none leaves behind: rows of blocks that may not be on the disk yet.
// They are true as long as the machine stays up, so others are told that these blocks are held. A
// note in .blockstore makes the barrier of any later dump write back whatever the file system has,
// and people hear of it when the machine has gone down since. Blocking; any thread. Internal to
// src/store.
#pragma once

#include <cstdint>
#include <string>

#include "base/log.hpp"
#include "io/file_system.hpp"
#include "store/layout.hpp"

namespace diskdump {

enum class unsynced : std::uint8_t {
  none,
  of_this_boot,     // all there, and durable after a syncfs
  of_earlier_boot,  // what was not written back is lost: verify finds it
};

[[nodiscard]] unsynced find_unsynced(file_system& files, store_layout const& layout);

// Durable when it returns. To be called before the first such row. A note of an earlier boot stays.
void note_unsynced(file_system& files, store_layout const& layout);

// Makes what any earlier dump has rows for durable, before a manifest names it. Throws store
// errors.
void secure_unsynced(file_system& files, store_layout const& layout);

// For people, when a store is opened to be written.
void warn_of_unsynced(file_system& files, store_layout const& layout, log_sink* log);

// After every block was read, and those that are bad have no row any more. Where another dump runs,
// which may be of that kind, the note stays. `base`: DIR, whose leases are looked at; `own_leases`
// of them are the caller's.
void forget_unsynced(file_system& files, store_layout const& layout, std::string const& base,
                     std::size_t own_leases);

}  // namespace diskdump
