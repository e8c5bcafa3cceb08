// verify, phase 2: takes the marks of phase 1; gives what each damage hits, blocks that a manifest
// names and the store lacks, and manifests that cannot be read.
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/limits.hpp"
#include "store/run_parallel.hpp"
#include "store/verify_run.hpp"

namespace diskdump {

void verify_run::check_manifests() {
  monitor_.enter("looking for manifests");
  std::vector<std::string> paths;
  if (options_.manifest && report_.damages_total == 0 && bad_without_row_ == 0) {
    // Only what it names can be missing, and nothing else is hit.
    paths.push_back(*options_.manifest);
  } else {
    auto const damaged = [this](std::string const& path, error const& failure) {
      report_.manifests_damaged.push_back({path, failure.what()});
    };
    for (auto const& entry : list_manifests(base_, damaged)) {
      paths.push_back(base_ + "/" + entry.path);
    }
    if (options_.manifest) {
      report_.manifests_damaged.clear();  // not what was asked for
      if (std::find(paths.begin(), paths.end(), *options_.manifest) == paths.end()) {
        paths.push_back(*options_.manifest);
      }
    }
  }
  report_.manifests = paths.size();
  monitor_.enter("checking manifests", paths.size());
  run_parallel(paths.size(), options_.threads, [&](std::size_t i) {
    if (monitor_.stop) return;
    check_manifest(paths[i]);
    ++monitor_.done;
  });
}

void verify_run::check_manifest(std::string const& path) {
  auto const shown = path.starts_with(base_ + "/") ? path.substr(base_.size() + 1) : path;
  try {
    manifest_reader reader(path, lists_);
    if (reader.has_lists()) {
      check_lists(reader, shown);
      return;
    }
    auto const geometry = reader.header().geometry;
    block_index at;
    std::vector<block_id> ids;
    do {
      ids.clear();
      while (ids.size() < limits::upkeep_blocks_per_task) {
        auto const id = reader.next();
        if (!id) break;
        ids.push_back(*id);
      }
      (void)check_run(path, ids, shown, geometry, at);
      at += block_count{ids.size()};
    } while (ids.size() == limits::upkeep_blocks_per_task && !monitor_.stop);
  } catch (error const& failure) {
    // Deleted since it was found.
    if (is_gone(failure)) return;
    std::lock_guard const lock(mutex_);
    report_.manifests_damaged.push_back({shown, failure.what()});
  }
}

bool verify_run::check_run(std::string const& manifest, std::span<block_id const> ids,
                           std::string const& shown, block_geometry const& geometry,
                           block_index first) {
  bool well = true;
  std::array<std::uint8_t, limits::upkeep_blocks_per_task> marks{};
  while (!ids.empty()) {
    auto const some = ids.first(std::min(ids.size(), marks.size()));
    marks_.of(some, std::span(marks).first(some.size()));
    for (std::size_t i = 0; i < some.size(); ++i, ++first) {
      if ((marks[i] & (whole | bad)) == whole) continue;
      if (!check_named(manifest, some[i], shown, geometry.offset_bytes(first),
                       geometry.length_bytes(first))) {
        well = false;
      }
    }
    ids = ids.subspan(some.size());
  }
  return well;
}

bool verify_run::check_named(std::string const& manifest, block_id const& id,
                             std::string const& shown, std::uint64_t offset_bytes,
                             std::uint64_t length_bytes) {
  auto const bits = marks_.of(id);
  bool const broken =
      (bits & bad) != 0 || ((bits & whole) == 0 && is_ours(id, bits) && lacks(manifest, id));
  if (!broken) return true;
  if ((marks_.of(id) & reported) == 0) {
    auto const condition = parts_.shelf->examine(id);
    if (condition.good()) return true;  // a dump has sent it again meanwhile
    auto const row = parts_.index->rows_of(std::span(&id, 1), true).front();
    report_damage(row.value_or(stored_block{id, 0, {}}), condition);
  }
  add_range(shown, id, offset_bytes, length_bytes);
  return false;
}

// What manifests of one disk share is judged once, unless there is damage to be told for each.
void verify_run::check_lists(manifest_reader& reader, std::string const& shown) {
  auto const geometry = reader.header().geometry;
  while (auto const list = reader.next_list()) {
    if (monitor_.stop) return;
    bool const can_be_full = list->blocks.value == limits::list_digests_max;
    if (can_be_full && (marks_.of(list->id) & all_there) != 0) continue;
    auto const digests = read_list(reader, *list, shown);
    if (!digests) continue;
    bool const well = check_run(reader.path(), *digests, shown, geometry, list->first);
    if (well && can_be_full) (void)marks_.add(list->id, all_there);
  }
}

std::optional<std::span<block_id const>> verify_run::read_list(manifest_reader& reader,
                                                               named_list const& list,
                                                               std::string const& shown) {
  auto const geometry = reader.header().geometry;
  auto const offset_bytes = geometry.offset_bytes(list.first);
  // All that the list stands for is hit.
  auto const end = geometry.offset_bytes(list.first + list.blocks);
  auto const length_bytes = std::min(end, geometry.image_bytes) - offset_bytes;
  if (!check_named(reader.path(), list.id, shown, offset_bytes, length_bytes)) return std::nullopt;
  try {
    return reader.read_list();
  } catch (error const& failure) {
    if (failure.code() != store_errc::damaged_manifest) throw;
    // Of a part of the store that this run has not looked into, or it went bad since.
    (void)marks_.add(list.id, bad);
    if (!check_named(reader.path(), list.id, shown, offset_bytes, length_bytes)) {
      return std::nullopt;
    }
    throw;  // a whole block, but not what this manifest says that it is
  }
}

// Whether the store lacks a block that phase 1 did not see. It may have been put since, or gone
// together with the manifest.
bool verify_run::lacks(std::string const& manifest, block_id const& id) {
  auto const row = parts_.index->rows_of(std::span(&id, 1), true).front();
  auto const where = row.value_or(stored_block{id, 0, {}});
  bool const known = row || parts_.format == store_format::loose;
  if (known && parts_.shelf->exists(where)) {
    (void)marks_.add(id, whole);
    return false;
  }
  if (::access(manifest.c_str(), F_OK) != 0) return false;
  (void)marks_.add(id, bad);
  return true;
}

// Neighbouring blocks with the same damage, such as a block that stands there many times over, are
// one range.
void verify_run::add_range(std::string const& manifest, block_id const& id,
                           std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  std::lock_guard const lock(mutex_);
  // One thread checks a manifest, but others tell of theirs in between.
  if (auto const known = last_ranges_.find(manifest); known != last_ranges_.end()) {
    auto& last = ranges_[known->second];
    if (last.id == id && last.where.offset_bytes + last.where.length_bytes == offset_bytes) {
      last.where.length_bytes += length_bytes;
      return;
    }
  }
  ++report_.ranges_total;
  if (ranges_.size() < limits::verify_findings_max) {
    last_ranges_.insert_or_assign(manifest, ranges_.size());
    ranges_.push_back({id, {0, manifest, offset_bytes, length_bytes}});
  }
}

}  // namespace diskdump
