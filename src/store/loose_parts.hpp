// What a loose store consists of once it is open: shared by the store itself and by what looks
// after it (gc, verify, reindex). Internal to src/store.
#pragma once

#include <memory>
#include <string>

#include "io/file_system.hpp"
#include "store/block_store.hpp"
#include "store/index.hpp"
#include "store/layout.hpp"
#include "store/scratch.hpp"

namespace diskdump {

// `files` reaches .blockstore through `layout`.
struct loose_parts {
  std::string blockstore;  // its real path
  std::unique_ptr<file_system> owned_files;
  file_system* files = nullptr;
  store_layout layout{""};
  std::unique_ptr<scratch_folder> scratch;  // none when read-only
  std::unique_ptr<store_index> index;
  store_properties properties;
  durability level = durability::barrier;
  bool read_only = false;
};

// Opens a store, or makes it: what is there is checked before anything is changed. Throws what
// open_store() throws.
[[nodiscard]] loose_parts open_loose(std::string const& base, store_open_options const& options);

}  // namespace diskdump
