// Where the bytes of a store's blocks are, as what looks after a store (gc, verify, reindex) needs
// to know it: one implementation for block files (loose_shelf), one for packs (pack_shelf).
// Blocking; thread-safe. Internal to src/store.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/block_store.hpp"
#include "store/layout.hpp"
#include "store/monitor.hpp"

namespace diskdump {

class store_index;

struct block_condition {
  enum class kind : std::uint8_t { good, damaged, truncated, empty, unreadable, absent };
  kind what = kind::good;
  std::string detail;  // for people, where it is not good
  std::uint64_t stored_bytes = 0;
  std::uint64_t content_bytes = 0;

  [[nodiscard]] bool good() const noexcept { return what == kind::good; }
  [[nodiscard]] bool bad() const noexcept { return what != kind::good && what != kind::absent; }
};

// A block as it lies on the disk beside what the index says of it.
struct upkeep_block {
  block_id id;
  std::uint64_t stored_bytes = 0;  // of what lies there, if sizes were asked for
  std::uint64_t row_bytes = 0;     // that the row says
  std::uint64_t inode = 0;
  block_place place;
  bool has_file = false;  // its bytes lie there, as far as names and headers tell
  bool has_row = false;   // and the row is about these bytes
  bool condemned = false;

  [[nodiscard]] stored_block as_stored() const noexcept { return {id, stored_bytes, place}; }
};

// Which blocks to look at.
struct upkeep_request {
  unsigned first_folder = 0;  // of the digests (folder_of)
  unsigned last_folder = block_folders;
  folder_filter wanted = {};  // beside that, of these folders only
  // Sizes of files are told; of packs they always are.
  listing detail = listing::names;
  // Also blocks that lie there without a row. Block files are always told.
  bool without_row = true;
  // Rows of the index, as far as the caller knows: what is to be read at once is chosen by it.
  std::uint64_t rows = 0;
};

// How much gc gave back to the file system.
struct reclaimed_space {
  std::uint64_t bytes = 0;
  std::uint64_t packs_removed = 0;
  std::uint64_t packs_rewritten = 0;  // of those removed: some of their blocks are in new ones
  // Packs whose space stays taken because of what cannot be read, and what to do, for people; at
  // most limits::packs_told_max are listed, all are counted.
  std::vector<std::string> left_alone;
  std::uint64_t packs_left_alone = 0;
};

class block_shelf {
 public:
  virtual ~block_shelf() = default;

  // The index beside the blocks, which outlives this object. All calls but walk() need it.
  virtual void use(store_index& index) = 0;

  // Hands blocks to `take`, at most about limits::upkeep_files_per_window at a time and in about
  // the order of the disk. Ends early when told to stop.
  virtual void for_each_window(upkeep_request const& request, unsigned threads,
                               work_monitor& monitor,
                               std::function<void(std::vector<upkeep_block>&)> const& take) = 0;

  // Reads, decompresses and hashes these blocks of a window, in their order. A file that may not
  // be read, or a failure that says nothing about the block, is thrown.
  virtual void examine(
      std::span<upkeep_block const> blocks,
      std::function<void(upkeep_block const&, block_condition const&)> const& each) = 0;

  // The same for one block, wherever it is now.
  [[nodiscard]] virtual block_condition examine(block_id const& id) = 0;

  // Whether the bytes that a row is about are there, as far as names, sizes and headers tell.
  // Throws what a bad sector throws.
  [[nodiscard]] virtual bool exists(stored_block const& block) = 0;
  // What the bytes that a row is about are in, the file or the pack with its writer, to be told
  // from what has its name later; nothing where they, and so many of them, are not there. Bytes for
  // comparing only.
  [[nodiscard]] virtual std::string holder(stored_block const& block) = 0;
  // Where a block is, for people, relative to DIR.
  [[nodiscard]] virtual std::string shown(stored_block const& block) = 0;

  // Puts the bytes of a bad block aside, for people; returns where, relative to .blockstore;
  // nothing where there are none. REQUIRES: repair.lock is held, it was found bad under it, and it
  // has no row any more.
  [[nodiscard]] virtual std::optional<std::string> quarantine(stored_block const& block) = 0;

  // Blocks that have a file of their own in these folders (layout.hpp), `last_folder` not included,
  // as far as names tell, in ascending order; none in packs.
  [[nodiscard]] virtual std::vector<block_id> files_of(unsigned first_folder,
                                                       unsigned last_folder) = 0;
  // The size of one; 0 where it is not there.
  [[nodiscard]] virtual std::uint64_t file_bytes(block_id const& id) = 0;

  // Blocks that nothing needs lose their bytes, or at least their claim to them. `meanwhile` runs
  // once beside it, on one of the threads.
  virtual void erase(std::span<stored_block const> blocks, unsigned threads,
                     std::function<void()> const& meanwhile) = 0;

  // Gives the file system back what erase() left. Runs beside dumps; one process at a time.
  // `is_named`, where it is set, says whether a manifest names a block, and that the index does not
  // know all that manifests name: what may hold one of those stays.
  [[nodiscard]] virtual reclaimed_space reclaim(
      work_monitor& monitor, std::function<bool(block_id const&)> const& is_named) = 0;

  // Every block as far as names, headers and sizes tell, for an index that is absent.
  virtual void walk(std::function<void(stored_block const&)> const& each) = 0;
};

// Examines a window on so many threads, neighbours by the same one; `each` is called by all of
// them. Ends early when told to stop.
void examine_window(block_shelf& shelf, std::span<upkeep_block const> window, unsigned threads,
                    work_monitor const& monitor,
                    std::function<void(upkeep_block const&, block_condition const&)> const& each);

// `files`, which reaches .blockstore through `layout`, outlives them. `blockstore` is its real
// path. `read_only`: nothing below it is changed.
[[nodiscard]] std::unique_ptr<block_shelf> make_loose_shelf(file_system& files,
                                                            store_layout layout);
[[nodiscard]] std::unique_ptr<block_shelf> make_pack_shelf(file_system& files, store_layout layout,
                                                           std::string blockstore, durability level,
                                                           bool read_only = false);

}  // namespace diskdump
