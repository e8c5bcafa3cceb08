// The rows of the index in the order of their places. The index is ordered by digests, so each
// query for a range of packs passes over all rows: here they are read once and dealt out to a file,
// by ranges of packs, each of which is sorted in memory when its turn comes. Blocking; one thread
// at a time. Internal to src/store.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "io/file_system.hpp"
#include "store/index.hpp"
#include "store/layout.hpp"

namespace diskdump {

// A store of packs, for what looks after it. What it refers to outlives who uses it.
struct pack_surroundings {
  file_system& files;
  store_layout layout;
  std::string blockstore;  // its real path
  durability level = durability::barrier;
  bool read_only = false;
  store_index& index;
};

class pack_rows {
 public:
  using row = store_index::known_block;

  // `lasts` are the last numbers of the ranges, ascending; the last one is the highest there is.
  // Only rows that are `wanted`, which up to `threads` threads ask at the same time, are taken.
  // Nothing is read yet. `stop` ends a pass over the rows early: what comes then is not all.
  // REQUIRES: 1 to limits::pack_row_ranges_max ranges.
  pack_rows(pack_surroundings const& store, std::vector<std::uint32_t> lasts, unsigned threads,
            std::function<bool(row const&)> wanted, std::atomic<bool> const& stop);

  // Rows and condemned blocks of packs up to `last`, included, in the order of their places,
  // without those that an earlier call gave. They are as they were at some time after the first
  // call: since then a block may have moved, gone, or come. REQUIRES: `last` never descends.
  [[nodiscard]] std::vector<row> up_to(std::uint32_t last);

 private:
  // It has no name any more: whatever happens, nothing is left of it.
  struct nameless_file {
    std::unique_ptr<append_file> end;
    std::unique_ptr<read_file> content;
  };
  struct piece {
    std::uint64_t offset_bytes = 0;
    std::size_t bytes = 0;
  };
  struct range {
    std::uint32_t last = 0;
    byte_vector waiting;  // to be written
    std::vector<piece> pieces;
  };

  [[nodiscard]] nameless_file make_file() const;
  [[nodiscard]] range& range_of(std::uint32_t pack);
  void deal();
  [[nodiscard]] bool write_out(range& to);
  [[nodiscard]] bool read_back(range const& from, std::vector<row>& rows) const;
  void look_for(std::size_t index_of_range, std::vector<row>& rows);

  pack_surroundings store_;
  unsigned threads_;
  std::function<bool(row const&)> wanted_;
  std::atomic<bool> const& stop_;
  std::vector<range> ranges_;
  std::size_t next_ = 0;  // range that was not taken yet
  bool begun_ = false;
  // None where there is one range only, or where no such file could be made: then each range takes
  // a pass over all rows.
  std::optional<nameless_file> file_;
  std::uint64_t written_bytes_ = 0;
  std::vector<row> taken_;  // of ranges that were begun
};

}  // namespace diskdump
