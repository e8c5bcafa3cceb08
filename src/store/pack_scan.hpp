// What lies in a pack, whatever the index says. Blocking; any thread. Internal to src/store.
#pragma once

#include <cstdint>
#include <functional>

#include "io/file_system.hpp"
#include "store/block_store.hpp"
#include "store/layout.hpp"

namespace diskdump {

// Calls `each` for every entry of the pack whose header and data are as their
// checksums say, in the order in which they stand there. What is damaged, torn
// or in a bad sector is passed over; it is read on at the next entry that can
// be found. Nothing for a pack that is not there. Throws what reading throws,
// but for bad sectors.
void scan_pack(file_system& files, store_layout const& layout, std::uint32_t number,
               std::function<void(stored_block const&)> const& each);

}  // namespace diskdump
