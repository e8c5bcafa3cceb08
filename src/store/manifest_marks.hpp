// Which blocks the manifests of a store name. Reads them all on several threads; may be brought up
// to date later, when only those that appeared meanwhile are read. Blocking. Internal to src/store
// and to what reports on a store.
#pragma once

#include <atomic>
#include <set>
#include <string>
#include <tuple>

#include "base/log.hpp"
#include "store/block_marks.hpp"
#include "store/manifest.hpp"
#include "store/monitor.hpp"

namespace diskdump {

class manifest_marks {
 public:
  // `base` is DIR. `log`, which may be null, is told of interrupted dumps that are damaged.
  // Manifests of `without`, relative to DIR, are passed over.
  manifest_marks(std::string base, unsigned threads, log_sink* log,
                 std::set<std::string> without = {});

  // Reads every manifest that was not read before. Throws the first that cannot be read, or that
  // may lie where nobody can look (a folder without permission, a link that leads nowhere): nobody
  // knows what it needs. Besides those of both layouts it finds *.manifest files elsewhere below
  // DIR, on the same file system: a person may have moved one. What interrupted dumps name counts
  // as well; one of those that is damaged counts as far as it can be read. Ends early when the
  // monitor says stop; the marks are not whole then.
  void update(work_monitor& monitor);

  // Gives the memory of all marks back; they are none then. REQUIRES: nothing asks or updates them
  // any more.
  void release();

  // What a manifest or an interrupted dump names.
  [[nodiscard]] block_marks const& blocks() const noexcept { return blocks_; }
  // Whether a manifest names it, and how many are so. What only an interrupted dump names need not
  // be in the store: its last blocks were on their way.
  [[nodiscard]] bool in_manifest(block_id const& id) const {
    return is_of_manifest(blocks_.of(id));
  }
  // The same of a block's bits.
  [[nodiscard]] static bool is_of_manifest(std::uint8_t bits) noexcept {
    return (bits & of_manifest) != 0;
  }
  [[nodiscard]] std::uint64_t blocks_in_manifests() const noexcept { return blocks_in_manifests_; }
  [[nodiscard]] std::uint64_t manifests() const noexcept { return read_.size(); }

 private:
  // Bits of a block: who names it; it is a list of as many digests as one can hold, whose blocks
  // are marked by the same.
  static constexpr std::uint8_t of_interrupted = 1;
  static constexpr std::uint8_t of_manifest = 2;
  static constexpr std::uint8_t full_list_shift = 2;

  // What a manifest that is deleted and one that gets its name do not share.
  using identity = std::tuple<std::string, std::uint64_t, std::uint64_t, std::int64_t>;

  [[nodiscard]] std::set<std::string> find() const;
  void read(std::string const& path, work_monitor& monitor);
  void read_lists(manifest_reader& reader, std::uint8_t by, work_monitor& monitor);
  std::uint8_t mark(block_id const& id, std::uint8_t by);

  std::string base_;
  list_source lists_;
  unsigned threads_;
  log_sink* log_;
  std::set<std::string> without_;
  block_marks blocks_;
  std::atomic<std::uint64_t> blocks_in_manifests_{0};
  std::set<identity> read_;
};

}  // namespace diskdump
