// Garbage collection beside running dumps (FORMAT.md, "Collection"). Blocks that no manifest names
// are first condemned: they lose their row, so that a new dump sends them again. They are deleted
// once every lease that was held at that moment has ended and the manifests that appeared meanwhile
// have been read. Blocking; one process collects at a time, any number may dump.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "io/file_system.hpp"
#include "store/block_shelf.hpp"
#include "store/block_store.hpp"
#include "store/monitor.hpp"

namespace diskdump {

struct gc_options {
  bool dry_run = false;  // nothing in the store is changed
  // With dry_run: as if these manifests, relative to DIR, were gone already.
  std::set<std::string> without;
  bool wait = false;  // for leases, and for another collector, to end
  unsigned threads = 1;
  log_sink* log = nullptr;
  file_system* files = nullptr;  // rooted at DIR; nullptr: the real one
};

struct gc_report {
  std::uint64_t manifests = 0;
  std::uint64_t blocks_named = 0;         // distinct, by manifests
  store_stats condemned;                  // by this run, or what it would condemn (dry_run)
  store_stats freed;                      // deleted; in packs: from now on free space
  reclaimed_space reclaimed;              // of packs
  store_stats pending;                    // condemned, to be deleted once `waiting_for` has ended
  std::uint64_t blocks_rescued = 0;       // condemned, but a manifest needs them by now
  std::vector<std::string> waiting_for;   // what the leases say they are for
  std::uint64_t interrupted_expired = 0;  // interrupted dumps too old to be continued
  bool stopped = false;                   // by the monitor; a later run goes on
};

// Throws damaged_manifest where a manifest cannot be read: nobody knows what it needs, so nothing
// is condemned or deleted. Throws store_errc::busy where another collector runs, unless `wait`.
[[nodiscard]] gc_report collect_garbage(std::string const& base, gc_options const& options,
                                        work_monitor& monitor);

}  // namespace diskdump
