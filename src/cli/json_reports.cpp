#include "cli/json_reports.hpp"

#include "cli/json_value.hpp"

namespace diskdump {

namespace {

json ratio(std::uint64_t large, std::uint64_t small) {
  if (small == 0) return nullptr;
  return static_cast<double>(large) / static_cast<double>(small);
}

}  // namespace

std::vector<name_summary> names_of(std::vector<manifest_entry> const& manifests) {
  std::vector<name_summary> names;
  for (std::size_t i = 0; i < manifests.size(); ++i) {
    if (names.empty() || names.back().name != manifests[i].name) {
      names.push_back({manifests[i].name, i, i});
    }
    names.back().last = i + 1;
  }
  return names;
}

char const* kind_text(block_damage::kind kind) {
  switch (kind) {
    case block_damage::kind::damaged:
      return "damaged";
    case block_damage::kind::truncated:
      return "truncated";
    case block_damage::kind::empty:
      return "empty";
    case block_damage::kind::unreadable:
      return "unreadable";
    case block_damage::kind::missing:
      return "missing";
  }
  return "unknown";
}

void json_init_event(std::string const& base, store_properties const& properties, bool created) {
  emit({{"event", "init"},
        {"store", base},
        {"format", properties.format},
        {"block_size", properties.block_bytes},
        {"created", created}});
}

void json_info_event(image_report const& report) {
  auto const& usage = report.usage;
  auto const& geometry = usage.header.geometry;
  json other = json::array();
  for (auto const& [key, value] : usage.header.extra)
    other.push_back({{"key", key}, {"value", value}});
  emit({{"event", "info"},
        {"manifest", report.path},
        {"source", usage.header.source},
        {"date", usage.header.date},
        {"age_seconds", report.age ? json(report.age->count()) : json(nullptr)},
        {"bytes", geometry.image_bytes},
        {"block_size", geometry.block_bytes},
        {"blocks", geometry.blocks().value},
        {"blocks_distinct", usage.blocks_distinct},
        {"blocks_missing", usage.blocks_missing},
        {"blocks_zero", usage.blocks_zero},
        {"blocks_unique", usage.blocks_unique},
        {"blocks_shared", usage.blocks_shared},
        {"bytes_stored", usage.stored_bytes},
        {"bytes_stored_unique", usage.stored_bytes_unique},
        {"bytes_manifest", usage.file_bytes},
        {"lists", usage.lists.blocks},
        {"lists_unique", usage.lists_unique.blocks},
        {"bytes_lists", usage.lists.stored_bytes},
        {"bytes_lists_unique", usage.lists_unique.stored_bytes},
        {"protected", report.is_protected},
        {"other_lines", std::move(other)}});
}

void json_status_event(std::string const& base, store_usage const& usage, std::size_t names) {
  auto const stored_named = usage.stored_bytes_of_images();
  emit({{"event", "status"},
        {"store", base},
        {"format", usage.properties.format},
        {"block_size", usage.properties.block_bytes},
        {"blocks", usage.stored.blocks},
        {"bytes_stored", usage.stored.stored_bytes},
        {"manifests", usage.manifests.size()},
        {"manifests_damaged", usage.damaged.size()},
        {"names", names},
        {"bytes_images", usage.image_bytes},
        {"blocks_named", usage.blocks_named},
        {"lists", usage.lists.blocks},
        {"bytes_lists", usage.lists.stored_bytes},
        {"bytes_content", usage.content_bytes},
        {"dedup_ratio", ratio(usage.image_bytes, usage.content_bytes)},
        {"compression_ratio", ratio(usage.content_bytes, stored_named)},
        {"blocks_unreferenced", usage.unnamed.blocks},
        {"bytes_unreferenced", usage.unnamed.stored_bytes},
        {"blocks_condemned", usage.condemned.blocks},
        {"bytes_condemned", usage.condemned.stored_bytes},
        {"blocks_missing", usage.blocks_missing},
        {"files_quarantined", usage.quarantined},
        {"running", usage.running},
        {"bytes_free", usage.free_bytes ? json(*usage.free_bytes) : json(nullptr)}});
}

void json_name_event(name_summary const& name, std::vector<manifest_entry> const& manifests) {
  auto const& newest = manifests[name.last - 1];
  emit({{"event", "name"},
        {"name", name.name},
        {"versions", name.last - name.first},
        {"newest", newest.header.date},
        {"manifest", newest.path}});
}

void json_range_event(changed_range const& range) {
  emit({{"event", "range"}, {"offset", range.offset_bytes}, {"length", range.length_bytes}});
}

void json_diff_event(diff_report const& report) {
  emit({{"event", "diff"},
        {"before", report.before},
        {"after", report.after},
        {"bytes_before", report.bytes_before},
        {"bytes_after", report.bytes_after},
        {"bytes_changed", report.total.bytes},
        {"blocks_changed", report.total.blocks},
        {"ranges", report.total.ranges},
        {"ranges_listed", report.ranges_listed}});
}

void json_protection_event(std::string const& manifest, bool is_protected, bool changed) {
  emit({{"event", "protection"},
        {"manifest", manifest},
        {"protected", is_protected},
        {"changed", changed}});
}

void json_copy_event(std::string const& manifest, image_copy const& done) {
  using kind = image_copy::kind;
  auto const* const status = done.outcome == kind::copied    ? "copied"
                             : done.outcome == kind::present ? "present"
                                                             : "failed";
  emit({{"event", "copy"},
        {"manifest", manifest},
        {"status", status},
        {"to", done.path.empty() ? json(nullptr) : json(done.path)},
        {"bytes", done.image_bytes},
        {"blocks", done.blocks},
        {"blocks_copied", done.blocks_copied},
        {"bytes_copied", done.stored_bytes_copied},
        {"error", done.why.empty() ? json(nullptr) : json(done.why)}});
}

void json_copy_summary(copy_totals const& totals) {
  emit({{"event", "copy_summary"},
        {"copied", totals.copied},
        {"present", totals.present},
        {"failed", totals.failed},
        {"blocks_copied", totals.blocks_copied},
        {"bytes_copied", totals.stored_bytes_copied},
        {"stopped", totals.stopped},
        {"seconds", totals.seconds}});
}

void json_prune_event(prune_plan::line const& line) {
  emit({{"event", "prune"},
        {"manifest", line.entry.path},
        {"name", line.entry.name},
        {"date", line.entry.header.date},
        {"bytes", line.entry.header.geometry.image_bytes},
        {"action", line.verdict.keep ? "keep" : "remove"},
        {"reasons", line.verdict.reasons}});
}

void json_prune_summary(prune_totals const& totals) {
  emit({{"event", "prune_summary"},
        {"kept", totals.kept},
        {"removed", totals.removed},
        {"damaged", totals.damaged},
        {"dry_run", totals.dry_run}});
}

void json_gc_event(gc_report const& report, bool dry_run, double seconds) {
  emit({{"event", "gc"},
        {"dry_run", dry_run},
        {"manifests", report.manifests},
        {"blocks_named", report.blocks_named},
        {"blocks_condemned", report.condemned.blocks},
        {"bytes_condemned", report.condemned.stored_bytes},
        {"blocks_freed", report.freed.blocks},
        {"bytes_freed", report.freed.stored_bytes},
        {"bytes_reclaimed", report.reclaimed.bytes},
        {"packs_removed", report.reclaimed.packs_removed},
        {"packs_rewritten", report.reclaimed.packs_rewritten},
        {"blocks_pending", report.pending.blocks},
        {"bytes_pending", report.pending.stored_bytes},
        {"blocks_rescued", report.blocks_rescued},
        {"waiting_for", report.waiting_for},
        {"stopped", report.stopped},
        {"seconds", seconds}});
}

void json_verify_events(verify_report const& report, double seconds) {
  for (auto const& d : report.damages) {
    emit({{"event", "damage"},
          {"block", d.id.hex()},
          {"kind", kind_text(d.what)},
          {"detail", d.detail},
          {"path", d.path},
          {"quarantined", d.quarantined.empty() ? json(nullptr) : json(d.quarantined)}});
  }
  for (auto const& r : report.ranges) {
    emit({{"event", "damaged_range"},
          {"block", report.damages.at(r.damage).id.hex()},
          {"manifest", r.manifest},
          {"offset", r.offset_bytes},
          {"length", r.length_bytes}});
  }
  for (auto const& m : report.manifests_damaged) {
    emit({{"event", "damaged_manifest"}, {"manifest", m.manifest}, {"error", m.why}});
  }
  json sample = nullptr;
  if (report.sample_to > report.sample_from) {
    sample = {{"from_percent", report.sample_from}, {"to_percent", report.sample_to}};
  }
  emit({{"event", "verify"},
        {"ok", report.all_well()},
        {"blocks", report.blocks},
        {"bytes_stored", report.stored_bytes},
        {"bytes_content", report.content_bytes},
        {"manifests", report.manifests},
        {"blocks_damaged", report.damages_total},
        {"ranges_damaged", report.ranges_total},
        {"manifests_damaged", report.manifests_damaged.size()},
        {"files_torn", report.leftovers},
        {"blocks_unindexed", report.unindexed},
        {"sample", std::move(sample)},
        {"stopped", report.stopped},
        {"seconds", seconds}});
}

void json_reindex_event(reindex_report const& report, double seconds) {
  emit({{"event", "reindex"},
        {"blocks", report.files},
        {"bytes_stored", report.stored_bytes},
        {"rows_before", report.rows_before},
        {"rows_added", report.rows_added},
        {"rows_removed", report.rows_removed},
        {"rows_corrected", report.rows_corrected},
        {"blocks_set_aside", report.blocks_set_aside},
        {"moved_aside", report.moved_aside.empty() ? json(nullptr) : json(report.moved_aside)},
        {"stopped", report.stopped},
        {"seconds", seconds}});
}

}  // namespace diskdump
