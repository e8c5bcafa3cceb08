// Gives the file system back what gc freed in packs: packs without a block that counts are removed,
// those with few are copied into new ones first. Runs beside dumps, restores and verify; one
// process at a time (gc.lock). Blocking. Internal to src/store.
#pragma once

#include <functional>

#include "store/block_shelf.hpp"
#include "store/pack_rows.hpp"

namespace diskdump {

// A pack whose writer is alive is left alone; so is one in which a block is
// damaged or cannot be read: verify tells of it. Ends early, between packs,
// when told to stop. `is_named`: see block_shelf::reclaim().
[[nodiscard]] reclaimed_space compact_packs(pack_surroundings const& store, work_monitor& monitor,
                                            std::function<bool(block_id const&)> const& is_named);

}  // namespace diskdump
