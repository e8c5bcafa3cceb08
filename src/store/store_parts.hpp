// What a store consists of once it is open: shared by the store itself and by what looks after it
// (gc, verify, reindex). Internal to src/store.
#pragma once

#include <memory>
#include <string>

#include "io/file_system.hpp"
#include "store/block_shelf.hpp"
#include "store/block_store.hpp"
#include "store/held_room.hpp"
#include "store/index.hpp"
#include "store/layout.hpp"
#include "store/scratch.hpp"

namespace diskdump {

// `files` reaches .blockstore through `layout`.
struct store_parts {
  std::string blockstore;  // its real path
  std::unique_ptr<file_system> owned_files;
  file_system* files = nullptr;
  store_layout layout{""};
  std::unique_ptr<scratch_folder> scratch;  // none when read-only
  std::unique_ptr<held_room> room;          // the same
  store_format format = store_format::loose;
  std::unique_ptr<store_index> index;
  std::unique_ptr<block_shelf> shelf;
  store_properties properties;
  durability level = durability::barrier;
  bool read_only = false;

  // Throws cannot_write where the store was opened for reading only.
  void check_writable() const;
};

// Opens a store, or makes it: what is there is checked before anything is changed. Throws what
// open_store() throws.
[[nodiscard]] store_parts open_parts(std::string const& base, store_open_options const& options);

// Throws not_a_store and unsupported_store as open_store() does. Opens no index, changes nothing.
void check_is_store(std::string const& base);

// The index's file: another name for another format, so that 0.1.x takes none for its own.
[[nodiscard]] std::string index_path(std::string const& blockstore, store_format of);

}  // namespace diskdump
