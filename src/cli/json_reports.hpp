// --json for the verbs that read the store or keep it in order; README.md has each event's fields.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "store/copy.hpp"
#include "store/gc.hpp"
#include "store/inventory.hpp"
#include "store/prune.hpp"
#include "store/reindex.hpp"
#include "store/verify.hpp"

namespace diskdump {

struct image_report {
  std::string path;
  image_usage usage;
  std::optional<std::chrono::duration<double>> age;
  bool is_protected = false;
};

// The manifests [first, last) of a list that is ordered by name.
struct name_summary {
  std::string name;
  std::size_t first = 0;
  std::size_t last = 0;
};
[[nodiscard]] std::vector<name_summary> names_of(std::vector<manifest_entry> const& manifests);

struct diff_report {
  std::string before, after;
  std::uint64_t bytes_before = 0, bytes_after = 0;
  image_difference total;
  std::uint64_t ranges_listed = 0;
};

struct prune_totals {
  std::uint64_t kept = 0;
  std::uint64_t removed = 0;
  std::uint64_t damaged = 0;
  bool dry_run = false;
};

struct copy_totals {
  std::uint64_t copied = 0;
  std::uint64_t present = 0;
  std::uint64_t failed = 0;
  std::uint64_t blocks_copied = 0;
  std::uint64_t stored_bytes_copied = 0;
  double seconds = 0;
  bool stopped = false;
};

// "damaged", "truncated", "empty", "unreadable", "missing".
[[nodiscard]] char const* kind_text(block_damage::kind kind);

void json_init_event(std::string const& base, store_properties const& properties, bool created);
void json_info_event(image_report const& report);
void json_status_event(std::string const& base, store_usage const& usage, std::size_t names);
void json_name_event(name_summary const& name, std::vector<manifest_entry> const& manifests);
void json_range_event(changed_range const& range);
void json_diff_event(diff_report const& report);
void json_protection_event(std::string const& manifest, bool is_protected, bool changed);
void json_copy_event(std::string const& manifest, image_copy const& done);
void json_copy_summary(copy_totals const& totals);
void json_prune_event(prune_plan::line const& line);
void json_prune_summary(prune_totals const& totals);
void json_gc_event(gc_report const& report, bool dry_run, double seconds);
void json_verify_events(verify_report const& report, double seconds);
void json_reindex_event(reindex_report const& report, double seconds);

}  // namespace diskdump
