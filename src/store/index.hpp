// The index blocks.db: which blocks the store holds, shared with other processes and with 0.1.x.
// Every row is true: the block it names is whole and durable (FORMAT.md). Thread-safe: one
// connection writes, up to limits::index_readers_max read, each used by one thread at a time.
// Internal to src/store.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "codec/block_id.hpp"
#include "store/block_store.hpp"
#include "store/index_sql.hpp"
#include "store/sqlite.hpp"

namespace diskdump {

struct index_options {
  std::string path;  // of blocks.db
  store_format format = store_format::loose;
  bool read_only = false;  // nothing on disk is changed
  bool durable = true;     // a commit is on disk when it returns
  std::chrono::milliseconds wait_max{};
};

// Hands the blocks that the files name to its argument, in ascending order if possible.
using index_filler = std::function<void(std::function<void(stored_block const&)> const&)>;

// A run of gc whose blocks are condemned but not all deleted yet.
struct collection {
  std::int64_t number = 0;
  // One lease id per line; none where gc was cut off before it had noted them.
  std::optional<std::string> leases;
  store_stats condemned;
};

class store_index {
 public:
  // Opens blocks.db, or makes it: filled by `fill` in one transaction under another name, so that a
  // crash leaves a whole index or none; a database without the table gets it where it is. Throws
  // damaged_index, index_busy, cannot_write. Returns through `rebuilt` how many blocks were found
  // by `fill`. REQUIRES: unless read-only, no other process of ours opens it meanwhile (open.lock).
  store_index(index_options options, index_filler const& fill, std::uint64_t& rebuilt);
  ~store_index();

  // Sets answer[i] to false for each id that has a row. Only ids with answer[i] true are looked up.
  // Read-only, condemned blocks count as well: what is condemned can still be read.
  void find(std::span<block_id const> ids, std::vector<bool>& answer);
  [[nodiscard]] bool contains(block_id const& id);

  // The rows of these blocks, each in its place; nullopt where there is none. `with_condemned`: of
  // a condemned block what its row was.
  [[nodiscard]] std::vector<std::optional<stored_block>> rows_of(std::span<block_id const> ids,
                                                                 bool with_condemned);

  // In one transaction. Rows that exist stay as they are. `verify` runs inside the transaction,
  // when no other writer can be active; what it throws leaves the index unchanged.
  void insert(std::span<stored_block const> blocks, std::function<void()> const& verify);

  // In one transaction.
  void remove(std::span<block_id const> ids);

  // In one transaction: gives these blocks their rows, with these sizes, whatever rows they had,
  // except where `exists`, asked while no other process can add or remove rows, says that the file
  // is gone. REQUIRES: the files are whole and durable.
  void adopt(std::span<stored_block const> blocks,
             std::function<bool(stored_block const&)> const& exists);

  // Whether SQLite finds the database in order.
  [[nodiscard]] bool is_sound() const;

  // Runs `action` for each id without a row while no other process can add one.
  void for_each_absent(std::span<block_id const> ids,
                       std::function<void(block_id const&)> const& action);

  // Rows and condemned blocks with first <= id, and id < last unless `last` is all zeros, in
  // ascending order each, rows first.
  struct known_block {
    stored_block block;
    bool condemned = false;
  };
  [[nodiscard]] std::vector<known_block> known_between(block_id const& first, block_id const& last);

  // All rows, then all condemned blocks, in ascending order each, until `each` says false. No lock
  // is held while `each` runs. What is added or taken away meanwhile may or may not be seen.
  void for_each_known(std::function<bool(known_block const&)> const& each);

  // In one transaction: takes the rows of these blocks, and their marks of gc, away, but not of
  // those for which `keep`, asked while no other process can add rows, says true. Returns how many
  // rows went.
  std::uint64_t remove_unless(std::span<block_id const> ids,
                              std::function<bool(block_id const&)> const& keep);

  // In ascending order; no lock is held while `each` runs.
  void list(std::function<void(stored_block const&)> const& each);
  [[nodiscard]] store_stats stats();

  // ---- Collection (FORMAT.md; index_condemned.cpp). A condemned block has no row. ----

  // Starts a collection and returns its number.
  [[nodiscard]] std::int64_t begin_collection();
  // Rows that were next to each other: those from `first` to `last`, both of them with it.
  struct row_run {
    block_id first;
    block_id last;
    store_stats rows;
  };
  // In one transaction each: takes the rows of these runs away, also those that came to one
  // meanwhile, and notes them as condemned; notes these files, which have no row, as condemned.
  // Returns what was condemned by this call.
  store_stats condemn_rows(std::int64_t collection, std::span<row_run const> runs);
  store_stats condemn_strays(std::int64_t collection, std::span<stored_block const> files);
  // The leases that were held when the collection's last block had been condemned.
  void set_leases(std::int64_t collection, std::string const& leases);
  // They are counted, which takes as long as reading all condemned blocks.
  [[nodiscard]] std::vector<collection> collections();
  [[nodiscard]] bool any_condemned() const;

  // Takes the mark off, before the block is put again: from then on no collector deletes its file.
  // A block that had a row has it again if `exists`, asked while no collector deletes, finds it;
  // true then. A later collection may condemn it once more.
  bool absolve(block_id const& id, std::function<bool(stored_block const&)> const& exists);

  // Judges the condemned blocks of a collection in steps of one transaction. `needed`: a manifest
  // names it: it gets its row back if `exists` finds its file. Otherwise `erase`, given those of a
  // part of a step, deletes their bytes and runs its second argument meanwhile, once, and their
  // marks go. All run while no other process can add rows or take marks off.
  struct sweep_actions {
    std::function<bool(block_id const&)> needed;
    std::function<bool(stored_block const&)> exists;
    std::function<void(std::span<stored_block const>, std::function<void()> const&)> erase;
    std::function<bool()> stopped;  // asked between steps
  };
  struct sweep_result {
    store_stats freed;
    std::uint64_t blocks_rescued = 0;
  };
  [[nodiscard]] sweep_result sweep(std::int64_t collection, sweep_actions const& actions);
  // Forgets collections that have no condemned blocks any more. REQUIRES: no other process condemns
  // blocks meanwhile (gc.lock).
  void end_collections();

  // ---- Packs (index_packs.cpp). REQUIRES: the format is pack. ----

  // What rows and condemned blocks are in a pack.
  struct pack_use {
    std::uint32_t pack = 0;
    store_stats rows;
    store_stats condemned;
  };
  // In ascending order of pack; packs without any are not listed.
  [[nodiscard]] std::vector<pack_use> packs_in_use();
  // In one transaction: rows and condemned blocks that still are where `from` says get their new
  // place. REQUIRES: what is there is whole and durable.
  struct moved_block {
    block_id id;
    block_place from;
    block_place to;
  };
  void move(std::span<moved_block const> blocks);
  // A number that is another one after each adopt() that gave a row, of whatever process.
  [[nodiscard]] std::int64_t adoptions();
  // Runs `action` while no other process can add rows, if adoptions() still is `since`; false, and
  // nothing is done, where it is not.
  [[nodiscard]] bool unless_adopted(std::int64_t since, std::function<void()> const& action);

 private:
  struct reader;
  class reader_lease;
  class sweeper;

  void open_writer(index_filler const& fill, std::uint64_t& rebuilt);
  void connect_writer(std::string const& path);
  void make_new(index_filler const& fill, std::uint64_t& rebuilt);
  void prepare(index_filler const& fill, std::uint64_t& rebuilt);
  [[nodiscard]] bool has_table() const;
  void build(index_filler const& fill, std::uint64_t& rebuilt);
  void use_wal() const;

  void count_adoption() const;
  bool for_each_row(char const* table, std::function<bool(stored_block const&)> const& each);

  index_options options_;
  index_sql sql_;
  std::mutex writer_mutex_;
  std::unique_ptr<sqlite_connection> writer_;  // none when read-only
  std::unique_ptr<sqlite_statement> insert_;
  std::unique_ptr<sqlite_statement> remove_;
  std::unique_ptr<sqlite_statement> contains_;
  std::unique_ptr<sqlite_statement> absolve_;

  std::mutex readers_mutex_;
  std::vector<std::unique_ptr<reader>> idle_readers_;
};

}  // namespace diskdump
