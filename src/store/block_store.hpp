// The block store: content-addressed blocks behind at most eight calls. Calls block (file system,
// SQLite) and are thread-safe: the pipeline makes them on its writer threads, never on the event
// loop. One conformance suite (tests/unit/store/store_conformance.hpp) holds for every backend.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "codec/block_id.hpp"
#include "io/file_system.hpp"
#include "store/frame_batch.hpp"

namespace diskdump {

enum class store_errc {
  not_a_store = 1,    // no .blockstore/config.json, or not one of ours
  unsupported_store,  // another version or hash
  damaged_block,      // a stored block that does not decode to its digest
  missing_block,      // a block that a manifest names and the store lacks
  damaged_index,      // blocks.db is not a database, or not ours
  index_busy,         // blocks.db is locked by another program
  damaged_manifest,   // a manifest that does not parse
  no_such_manifest,
  bad_name,            // a manifest name that would leave its folder
  block_size_differs,  // the store was made with another block size
  cannot_write,        // read-only, no permission, a bad disk
  store_full,          // the file system or the quota has no room for it
  cannot_read,         // a folder or file that has to be read to be sure
  busy,                // another process does the same work on this store
};
[[nodiscard]] std::string_view sentence(store_errc e) noexcept;
[[nodiscard]] inline char const* module_name(store_errc) noexcept { return "store"; }

enum class store_format : std::uint8_t {
  loose,  // a file per block: the format of 0.1.x
  pack,   // many blocks to a file
};
[[nodiscard]] std::string_view name_of(store_format which) noexcept;
[[nodiscard]] std::optional<store_format> store_format_of(std::string_view name) noexcept;
// What a store of such blocks is made in where nobody chose: loose, or pack below
// limits::loose_block_bytes_min.
[[nodiscard]] store_format usual_store_format(std::uint32_t block_bytes) noexcept;

struct store_properties {
  std::string format;  // "loose", "pack", "memory", …
  std::uint32_t block_bytes = 0;
  bool durable = false;  // barrier() makes blocks survive a power cut
  bool shared = false;   // other processes may use it at the same time
};

struct store_stats {
  std::uint64_t blocks = 0;
  std::uint64_t stored_bytes = 0;  // compressed

  store_stats& operator+=(store_stats const& other) noexcept {
    blocks += other.blocks;
    stored_bytes += other.stored_bytes;
    return *this;
  }
};

// Where a block's entry begins, in a store whose format is pack (FORMAT.md, "Packs"); zeros in
// others.
struct block_place {
  std::uint32_t pack = 0;
  std::uint32_t offset = 0;  // in bytes

  friend auto operator<=>(block_place const&, block_place const&) = default;
};

struct stored_block {
  block_id id;
  std::uint64_t stored_bytes = 0;
  block_place place = {};
};

enum class durability : std::uint8_t { none, barrier };

class block_store {
 public:
  virtual ~block_store() = default;

  // One flag per id, true where the store does not hold it. A block counts as held once it is in
  // the index, or was put through this object.
  [[nodiscard]] virtual std::vector<bool> missing(std::span<block_id const> ids) = 0;

  // Stores `frame`, one LZ4 frame that the caller has verified to decode to content with digest
  // `id`. Never overwrites: true if it was stored now, false if a good copy was there. Not durable
  // before a barrier(). Throws cannot_write (transient is never right here: nothing is retried).
  virtual bool put(block_id const& id, byte_view frame) = 0;

  // The same of a list of digests (digest_list.hpp): as a part of a manifest it may take of the
  // room that the store keeps back for these.
  virtual bool put_list(block_id const& id, byte_view frame) { return put(id, frame); }

  // The stored LZ4 frames of these blocks, each in the place of its id, all of them in memory at
  // once; blocks that lie side by side on the disk are read together. The caller verifies the
  // content.
  virtual void fetch(std::span<block_id const> ids, frame_batch& frames) = 0;

  // The same of one block; nullopt where there is none.
  [[nodiscard]] std::optional<byte_vector> get(block_id const& id);

  // When it returns, every block whose put() had returned before the call is durable and in the
  // index. Several callers share one run. Throws cannot_write; then nothing of the epoch counts,
  // and put() and barrier() keep throwing it: nobody can tell who relied on the lost blocks.
  // Throws index_busy, after which another call may succeed.
  virtual void barrier() = 0;

  // Every block of the index in ascending order of id; what others add or remove meanwhile may or
  // may not be seen. `each` may call the store.
  virtual void list(std::function<void(stored_block const&)> const& each) = 0;

  // Takes blocks out of the index, then deletes them. Unknown ones are ignored. The caller makes
  // sure that nobody relies on them.
  virtual void remove(std::span<block_id const> ids) = 0;

  // For who writes something beside the blocks and found the disk full: the store gives up the room
  // that it keeps back for that. True where another try is worth it. Takes no block from then on.
  virtual bool give_room() noexcept { return false; }

  // Of the index: what no barrier covered yet is not counted.
  [[nodiscard]] virtual store_stats stats() = 0;
  [[nodiscard]] virtual store_properties const& properties() const noexcept = 0;
};

struct store_open_options {
  durability level = durability::barrier;
  // For a store that does not exist yet: its block size. nullopt: do not create one.
  std::optional<std::uint32_t> create_block_bytes;
  // Its format; one that exists keeps its own.
  store_format create_format = store_format::loose;
  // For restore, list and verify: nothing in the store is changed, and the index is opened at its
  // first use, so that get() works with a damaged or locked one and on a read-only file system.
  bool read_only = false;
  // An index that is absent is filled with what the names and sizes of the block files say. reindex
  // looks into the files instead.
  bool fill_absent_index = true;
  log_sink* log = nullptr;  // told what was repaired at open; outlives the store
  // Rooted at DIR, outlives the store; nullptr: the real one. Tests fail calls and cut the power.
  file_system* files = nullptr;
  std::chrono::milliseconds index_wait_max = limits::index_wait_max;
};

// Opens (or creates) the store in `base`; `base` is DIR, which holds `.blockstore`.
[[nodiscard]] std::unique_ptr<block_store> open_store(std::string const& base,
                                                      store_open_options const& options);

[[nodiscard]] std::unique_ptr<block_store> make_memory_store(std::uint32_t block_bytes);

}  // namespace diskdump
