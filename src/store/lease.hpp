// A dump's lease: a locked file in .blockstore/leases/ that says "a dump is running that relies on
// blocks which no manifest names yet". The kernel releases it when the dump dies. gc deletes a
// condemned block only after every lease that was held when it was condemned has ended. Any thread;
// one at a time per object.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/block_store.hpp"
#include "store/lock_file.hpp"

namespace diskdump {

class dump_lease {
 public:
  // `base` is DIR; `text` tells people what it is for ("server01:/dev/sda"). Removes the files of
  // dead owners. Throws cannot_write. Taken before the first missing(), held until the manifest
  // is published.
  dump_lease(std::string const& base, std::string_view text);

  // Unique for all time in this store.
  [[nodiscard]] std::string const& id() const noexcept { return file_.stem(); }

 private:
  lock_file file_;
};

struct leased_store {
  dump_lease lease;  // outlives the store
  std::unique_ptr<block_store> store;
};

// open_store() with a lease that is held before the index is opened, so that no reindex moves a
// damaged one away in between. For writing; throws what both throw.
[[nodiscard]] leased_store open_leased_store(std::string const& base,
                                             store_open_options const& options,
                                             std::string_view text);

// What the lease of this id says it is for; empty where it has ended.
[[nodiscard]] std::string lease_purpose(std::string const& base, std::string_view id);

// The ids of all leases that are held now, by this and other processes. Stale files are removed.
// `base` is DIR.
[[nodiscard]] std::vector<std::string> held_leases(std::string const& base);

}  // namespace diskdump
