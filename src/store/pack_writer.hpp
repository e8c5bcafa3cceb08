// Adds blocks to packs of its own: they are gathered in a buffer and written in large pieces, while
// the next buffer fills. A pack that is full is ended, made durable by the thread that filled it,
// and the next one begun. No pack is ever written by two, or again later. Blocking; thread-safe.
// Internal to src/store.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/limits.hpp"
#include "io/file_system.hpp"
#include "store/block_store.hpp"
#include "store/held_room.hpp"
#include "store/layout.hpp"
#include "store/scratch.hpp"

namespace diskdump {

enum class entry_use : std::uint8_t { block, list };

class pack_writer {
 public:
  // `files` reaches .blockstore through `layout`; it and `scratch`, whose lock says that the
  // packs have a writer, outlive this object. So does `room`, which is given up when there is no
  // other; nullptr: entries take what there is. Two buffers of `write_bytes` are in memory, one
  // where a single thread adds.
  pack_writer(file_system& files, store_layout layout, scratch_folder& scratch, held_room* room,
              durability level, std::size_t write_bytes = limits::pack_write_bytes);

  // Adds an LZ4 frame; returns the place of its entry, which is not in the file yet, though the
  // room for it is taken: where there is none, only this call throws store_full. After a write that
  // failed nobody knows what is in the file: this call and all later ones throw it.
  // A list finds room where blocks do not any more, once another call has met the full disk.
  [[nodiscard]] block_place add(block_id const& id, byte_view frame,
                                entry_use use = entry_use::block);

  // When it returns, everything that was added before is in its file, and durable unless the level
  // is none. Throws what add() throws.
  void flush();

  // The same without durability, for who wants to read the block there.
  void write_out();

 private:
  // A pack that is being written, or was.
  struct open_pack {
    std::uint32_t number = 0;
    std::unique_ptr<append_file> file;
    std::mutex syncing;
    bool dirty = true;  // since the last sync; guarded by the writer's mutex_
  };

  using lock = std::unique_lock<std::mutex>;
  void throw_if_failed() const;
  void begin_pack();
  void ask_for_room(std::uint64_t bytes, entry_use use);
  void begin_pack_or_fail(entry_use use);
  void reserve(std::uint64_t entry_bytes, entry_use use);
  void give_up_room(error const& failure) noexcept;
  [[nodiscard]] std::shared_ptr<open_pack> write_buffer(lock& held);
  void make_durable(open_pack& pack);

  file_system& files_;
  store_layout layout_;
  scratch_folder& scratch_;
  held_room* room_;
  durability level_;
  std::size_t write_bytes_;

  mutable std::mutex mutex_;
  std::condition_variable written_;
  std::shared_ptr<open_pack> pack_;   // the one that is added to
  std::uint64_t pack_bytes_ = 0;      // of it, with what is in the buffer
  std::uint64_t reserved_bytes_ = 0;  // of it, which it can grow to
  byte_vector buffer_;
  bool writing_ = false;  // somebody writes spare_
  byte_vector spare_;
  std::vector<std::shared_ptr<open_pack>> dirty_;  // those with something to sync
  bool new_names_ = false;                         // packs whose name is not durable
  std::uint32_t next_number_ = 0;
  std::optional<error> failure_;
};

// The packs of a store as they are now: number and size, ascending.
struct pack_file {
  std::uint32_t number = 0;
  std::uint64_t size_bytes = 0;
};
[[nodiscard]] std::vector<pack_file> list_packs(file_system& files, store_layout const& layout);
// "packs/000017.pack" in `files`.
[[nodiscard]] std::string pack_path(store_layout const& layout, std::uint32_t number);

}  // namespace diskdump
