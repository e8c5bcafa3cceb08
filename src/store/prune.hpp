// Pruning: which manifests of a name a policy keeps, and how the others are removed. The blocks
// that nobody names afterwards are gc's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "io/file_system.hpp"
#include "store/manifest.hpp"
#include "store/monitor.hpp"

namespace diskdump {

// How many to keep of each kind: the newest N, and the newest of each of the N newest days, weeks
// (from Monday), months and years, in UTC, that have a manifest. One manifest may count for several
// kinds.
struct prune_policy {
  std::uint64_t last = 0;
  std::uint64_t daily = 0;
  std::uint64_t weekly = 0;
  std::uint64_t monthly = 0;
  std::uint64_t yearly = 0;

  // A policy that keeps nothing removes everything; callers refuse it.
  [[nodiscard]] bool keeps_any() const noexcept {
    return last + daily + weekly + monthly + yearly > 0;
  }
};

struct prune_candidate {
  std::string name;
  std::optional<std::int64_t> moment;  // seconds since 1970; none: it has no date
  bool is_protected = false;
};

struct prune_verdict {
  bool keep = false;
  std::vector<std::string> reasons;  // why it is kept: "last", "daily", …, "protected", "no date"
};

// Pure. REQUIRES: policy.keeps_any(); candidates of one name stand together, oldest first.
// Invariant: of every name at least the newest is kept.
[[nodiscard]] std::vector<prune_verdict> plan_prune(std::span<prune_candidate const> candidates,
                                                    prune_policy const& policy);

struct prune_plan {
  struct line {
    manifest_entry entry;
    prune_verdict verdict;
  };
  std::vector<line> lines;  // by name, oldest first
  struct failure {
    std::string path;  // relative to DIR
    std::string why;
  };
  // Neither counted as kept nor removed: nobody knows what they are worth.
  std::vector<failure> damaged;
  bool stopped = false;  // by the monitor: the plan is not whole and must not be carried out
};

// Reads every manifest of the wanted names to its end, so that none is removed in favour of one
// that cannot be restored from. `wanted` chooses by name.
[[nodiscard]] prune_plan make_prune_plan(std::string const& base,
                                         std::function<bool(std::string const&)> const& wanted,
                                         prune_policy const& policy, unsigned threads,
                                         work_monitor& monitor);

// Removes a manifest, and the folders YYYY/MM/DD that are empty then; durable when it returns.
// False where it is gone already or was protected meanwhile. `path` is relative to DIR, where
// `files` is rooted. Throws cannot_write.
bool remove_manifest(file_system& files, std::string const& path);

}  // namespace diskdump
