// Verification: every stored block is read, decompressed and hashed on all threads in the order of
// the disk, then every manifest is held against what is there. Damaged blocks go to quarantine and
// out of the index, so that the next dump that has the data heals the store. While it may do that
// it holds a lease, as dumps do. Blocking; may run beside dumps and collections.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "store/block_store.hpp"
#include "store/monitor.hpp"

namespace diskdump {

struct verify_options {
  std::optional<std::string> manifest;  // path: only this image's blocks
  // Only this share of the blocks, going on where the last such run ended: over runs all of them.
  // One that may note nothing (no repair, a store that it cannot write) begins anywhere.
  std::optional<double> sample_percent;
  bool repair = true;  // false: nothing in the store is changed, but where a sample ended is noted
  unsigned threads = 1;
  log_sink* log = nullptr;
};

struct block_damage {
  block_id id;
  enum class kind : std::uint8_t { damaged, truncated, empty, unreadable, missing } what;
  std::string detail;       // for people
  std::string path;         // of the file, relative to DIR
  std::string quarantined;  // where it is now, relative to DIR; empty if it was left
};

struct damaged_range {
  std::size_t damage = 0;          // index into verify_report::damages
  std::string manifest;            // path relative to DIR
  std::uint64_t offset_bytes = 0;  // in the image
  std::uint64_t length_bytes = 0;
};

struct manifest_failure {
  std::string manifest;  // path relative to DIR
  std::string why;
};

struct verify_report {
  std::uint64_t blocks = 0;         // files read
  std::uint64_t stored_bytes = 0;   // of them
  std::uint64_t content_bytes = 0;  // decompressed and hashed
  std::uint64_t manifests = 0;
  // Bad blocks that a manifest names or the index knew; at most limits::verify_findings_max are
  // listed, all are counted. Each list is in a stable order.
  std::uint64_t damages_total = 0;
  std::vector<block_damage> damages;
  std::uint64_t ranges_total = 0;
  std::vector<damaged_range> ranges;
  std::vector<manifest_failure> manifests_damaged;
  std::uint64_t leftovers = 0;  // torn files of dumps that were cut off: nothing needs them
  std::uint64_t unindexed = 0;  // good files without a row (diskdump reindex adds them)
  double sample_from = 0, sample_to = 0;  // of the digest space, in percent; sample runs only
  bool stopped = false;

  [[nodiscard]] bool all_well() const noexcept {
    return damages_total == 0 && manifests_damaged.empty();
  }
};

[[nodiscard]] verify_report verify_store(std::string const& base, verify_options const& options,
                                         work_monitor& monitor);

}  // namespace diskdump
