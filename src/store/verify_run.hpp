// One run of verify_store(), in the order of its phases. Internal to verify*.cpp.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/block_check.hpp"
#include "store/block_marks.hpp"
#include "store/lease.hpp"
#include "store/manifest.hpp"
#include "store/store_parts.hpp"
#include "store/verify.hpp"

namespace diskdump {

class verify_run {
 public:
  verify_run(std::string const& base, verify_options const& options, work_monitor& monitor);

  [[nodiscard]] verify_report run();

 private:
  // What is known of a block, as bits.
  static constexpr std::uint8_t whole = 1;
  static constexpr std::uint8_t bad = 2;
  static constexpr std::uint8_t reported = 4;    // it is one of the damages
  static constexpr std::uint8_t wanted = 8;      // --manifest names it
  static constexpr std::uint8_t all_there = 16;  // a full list, and all that it names is there

  // Phase 0: which part of the digests this run is about.
  void choose_part();
  void read_wanted();
  [[nodiscard]] bool is_ours(block_id const& id, std::uint8_t bits) const noexcept;

  // Phase 1 (verify_blocks.cpp): every block by itself.
  void check_blocks();
  void check_block(upkeep_block const& block, block_condition const& condition);
  void found_missing(upkeep_block const& block);

  // Phase 2 (verify_manifests.cpp): what the manifests name against what is there.
  void check_manifests();
  void check_manifest(std::string const& path);
  // False where some of these blocks, which follow each other in the image, are damaged or missing.
  bool check_run(std::string const& manifest, std::span<block_id const> ids,
                 std::string const& shown, block_geometry const& geometry, block_index first);
  void check_lists(manifest_reader& reader, std::string const& shown);
  // A list's digests; nothing where it is damaged or missing, which is reported.
  [[nodiscard]] std::optional<std::span<block_id const>> read_list(manifest_reader& reader,
                                                                   named_list const& list,
                                                                   std::string const& shown);
  // False for a block that is damaged or missing, which is reported as so many bytes of the image.
  bool check_named(std::string const& manifest, block_id const& id, std::string const& shown,
                   std::uint64_t offset_bytes, std::uint64_t length_bytes);
  [[nodiscard]] bool lacks(std::string const& manifest, block_id const& id);
  void add_range(std::string const& manifest, block_id const& id, std::uint64_t offset_bytes,
                 std::uint64_t length_bytes);

  // A bad or missing block that something relies on: into the report, and out of the way.
  void report_damage(stored_block const& block, block_condition const& condition);
  void remember_position() const;
  void finish();

  std::string const& base_;
  verify_options const& options_;
  work_monitor& monitor_;
  std::optional<dump_lease> lease_;  // while it sets blocks aside; outlives the index
  store_parts parts_;
  list_source lists_;
  block_marks marks_;
  bool notes_position_ = false;  // a sample's, for the next one
  unsigned first_folder_ = 0;
  unsigned folders_ = block_folders;  // from there, going round at the end

  std::mutex mutex_;  // guards report_ (but the counters below), and the order of ranges
  verify_report report_;
  struct range {
    block_id id;
    damaged_range where;
  };
  std::vector<range> ranges_;
  std::unordered_map<std::string, std::size_t> last_ranges_;  // of each manifest, in ranges_
  std::atomic<std::uint64_t> blocks_{0};
  std::atomic<std::uint64_t> stored_bytes_{0};
  std::atomic<std::uint64_t> content_bytes_{0};
  std::atomic<std::uint64_t> bad_without_row_{0};
  std::atomic<std::uint64_t> unindexed_{0};
};

}  // namespace diskdump
