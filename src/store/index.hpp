// The index blocks.db: which blocks the store holds, shared with other processes and with 0.1.x.
// Every row is true: the block it names is whole and durable (FORMAT.md). Thread-safe: one
// connection writes, up to limits::index_readers_max read, each used by one thread at a time.
// Internal to src/store.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "codec/block_id.hpp"
#include "store/block_store.hpp"
#include "store/sqlite.hpp"

namespace diskdump {

struct index_options {
  std::string path;        // of blocks.db
  bool read_only = false;  // nothing on disk is changed
  bool durable = true;     // a commit is on disk when it returns
  std::chrono::milliseconds wait_max{};
};

// Hands the blocks that the files name to its argument, in ascending order if possible.
using index_filler =
    std::function<void(std::function<void(block_id const& id, std::uint64_t stored_bytes)> const&)>;

class store_index {
 public:
  // Opens blocks.db, or makes it: a database without the table gets it, filled by `fill`, in one
  // transaction, so that a crash leaves no half-filled index. Throws damaged_index, index_busy,
  // cannot_write. Returns through `rebuilt` how many blocks were found by `fill`.
  store_index(index_options options, index_filler const& fill, std::uint64_t& rebuilt);
  ~store_index();

  // Sets answer[i] to false for each id that has a row. Only ids with answer[i] true are looked up.
  void find(std::span<block_id const> ids, std::vector<bool>& answer);
  [[nodiscard]] bool contains(block_id const& id);

  // In one transaction. Rows that exist stay as they are. `verify` runs inside the transaction,
  // when no other writer can be active; what it throws leaves the index unchanged.
  void insert(std::span<stored_block const> blocks, std::function<void()> const& verify);

  // In one transaction.
  void remove(std::span<block_id const> ids);

  // Runs `action` for each id without a row while no other process can add one.
  void for_each_absent(std::span<block_id const> ids,
                       std::function<void(block_id const&)> const& action);

  // In ascending order; no lock is held while `each` runs.
  void list(std::function<void(stored_block const&)> const& each);
  [[nodiscard]] store_stats stats();

 private:
  struct reader;
  class reader_lease;

  void open_writer(index_filler const& fill, std::uint64_t& rebuilt);
  [[nodiscard]] bool has_table() const;
  void build(index_filler const& fill, std::uint64_t& rebuilt);
  void use_wal() const;

  index_options options_;
  std::mutex writer_mutex_;
  std::unique_ptr<sqlite_connection> writer_;  // none when read-only
  std::unique_ptr<sqlite_statement> insert_;
  std::unique_ptr<sqlite_statement> remove_;
  std::unique_ptr<sqlite_statement> contains_;

  std::mutex readers_mutex_;
  std::vector<std::unique_ptr<reader>> idle_readers_;
};

}  // namespace diskdump
