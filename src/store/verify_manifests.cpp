// verify, phase 2: takes the marks of phase 1; gives what each damage hits, blocks that a manifest
// names and the store lacks, and manifests that cannot be read.
#include <unistd.h>

#include <algorithm>

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
    manifest_reader reader(path);
    auto const geometry = reader.header().geometry;
    block_index next;
    while (auto const id = reader.next()) {
      auto const at = next;
      ++next;
      auto const bits = marks_.of(*id);
      bool const broken =
          (bits & bad) != 0 || ((bits & whole) == 0 && is_ours(*id, bits) && lacks(path, *id));
      if (broken) {
        if ((marks_.of(*id) & reported) == 0) {
          auto const condition = examine_block(*parts_.files, parts_.layout, *id);
          if (condition.good()) continue;  // a dump has sent it again meanwhile
          report_damage(*id, condition);
        }
        add_range(shown, *id, geometry.offset_bytes(at), geometry.length_bytes(at));
      }
      if (next.value % limits::manifest_lines_per_hop == 0 && monitor_.stop) return;
    }
  } catch (error const& failure) {
    // Deleted since it was found.
    if (failure.code() == store_errc::no_such_manifest && failure.cause().empty()) return;
    std::lock_guard const lock(mutex_);
    report_.manifests_damaged.push_back({shown, failure.what()});
  }
}

// Whether the store lacks a block that phase 1 did not see. It may have been put since, or gone
// together with the manifest.
bool verify_run::lacks(std::string const& manifest, block_id const& id) {
  if (parts_.files->read(parts_.layout.block(id.hex()), 0)) {
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
  if (!ranges_.empty()) {
    auto& last = ranges_.back();
    if (last.id == id && last.where.manifest == manifest &&
        last.where.offset_bytes + last.where.length_bytes == offset_bytes) {
      last.where.length_bytes += length_bytes;
      return;
    }
  }
  ++report_.ranges_total;
  if (ranges_.size() < limits::verify_findings_max) {
    ranges_.push_back({id, {0, manifest, offset_bytes, length_bytes}});
  }
}

}  // namespace diskdump
