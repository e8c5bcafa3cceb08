#include "store/gc.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <set>
#include <span>
#include <thread>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/split.hpp"
#include "io/io_errc.hpp"
#include "store/interrupted.hpp"
#include "store/lease.hpp"
#include "store/lock_file.hpp"
#include "store/manifest_marks.hpp"
#include "store/store_error.hpp"
#include "store/store_parts.hpp"
#include "store/unneeded.hpp"

namespace diskdump {

namespace {

std::string joined(std::vector<std::string> const& lines) {
  std::string text;
  for (auto const& line : lines) text += line + "\n";
  return text;
}

class collector {
 public:
  collector(std::string const& base, gc_options const& options, work_monitor& monitor)
      : base_(base),
        options_(options),
        monitor_(monitor),
        parts_(open_parts(
            base, {.read_only = options.dry_run, .log = options.log, .files = options.files})),
        marks_(base, options.threads, options.log, options.without) {}

  gc_report run();

 private:
  [[nodiscard]] bool mark();
  void count_only();
  void condemn();
  void find(unneeded_steps const& steps);
  [[nodiscard]] std::vector<collection> with_leases_noted();
  // The leases that keep a collection from being swept, of those that are held.
  [[nodiscard]] static std::vector<std::string> blocking(collection const& c,
                                                         std::vector<std::string> const& held);
  [[nodiscard]] bool sweep_what_is_free(std::vector<collection> const& all);
  void sweep(std::vector<collection> const& free);
  [[nodiscard]] bool is_there(stored_block const& block);
  void reclaim();
  void warn(std::string_view line) const {
    if (options_.log != nullptr) options_.log->warning(line);
  }

  std::string const& base_;
  gc_options const& options_;
  work_monitor& monitor_;
  store_parts parts_;
  manifest_marks marks_;
  gc_report report_;
  // Where nothing was condemned before: no other collection is there, and these are its blocks.
  std::optional<collection> only_collection_;
  bool index_is_partial_ = false;  // it did not know all that manifests name
  std::uint64_t needed_and_lost_ = 0;
  std::string first_lost_;
};

// Marks what the manifests name. False when told to stop: then the marks are not whole, and nothing
// may be decided by them.
bool collector::mark() {
  marks_.update(monitor_);
  report_.manifests = marks_.manifests();
  report_.blocks_named = marks_.blocks().size();
  report_.stopped = monitor_.stop;
  return !report_.stopped;
}

void collector::count_only() {
  for (auto const& c : parts_.index->collections()) report_.pending += c.condemned;
  auto& found = report_.condemned;
  find({.rows =
            [&](std::span<store_index::row_run const> runs) {
              for (auto const& run : runs) found += run.rows;
            },
        .strays =
            [&](std::span<stored_block const> files) {
              for (auto const& file : files) found += {1, file.stored_bytes};
            }});
  for (auto const& id : held_leases(base_)) {
    report_.waiting_for.push_back(lease_purpose(base_, id));
  }
}

// From here on a dump that asks for one of these blocks is told that it is missing, and one that
// puts it takes the mark off again.
void collector::condemn() {
  bool const others = parts_.index->any_condemned();
  std::optional<std::int64_t> number;
  std::chrono::steady_clock::time_point last_step;
  auto const begin_step = [&] {
    std::this_thread::sleep_until(last_step + limits::sweep_pause);
    if (!number) number = parts_.index->begin_collection();
  };
  auto const end_step = [&](store_stats const& step) {
    report_.condemned += step;
    last_step = std::chrono::steady_clock::now();
  };
  find({.rows =
            [&](std::span<store_index::row_run const> runs) {
              begin_step();
              end_step(parts_.index->condemn_rows(*number, runs));
            },
        .strays =
            [&](std::span<stored_block const> files) {
              begin_step();
              end_step(parts_.index->condemn_strays(*number, files));
            }});
  if (number && !others) {
    only_collection_ = {.number = *number, .leases = {}, .condemned = report_.condemned};
  }
}

void collector::find(unneeded_steps const& steps) {
  auto const rows_in_manifests = find_unneeded(parts_, marks_, options_.threads, monitor_, steps);
  index_is_partial_ = rows_in_manifests < marks_.blocks_in_manifests();
}

// After the last block of a collection was condemned: a dump that was told that one of them is held
// asked before, so its lease is among these, or it has ended and its manifest is there.
std::vector<collection> collector::with_leases_noted() {
  auto all = only_collection_ ? std::vector{*only_collection_} : parts_.index->collections();
  std::optional<std::string> held;
  for (auto& c : all) {
    if (c.leases) continue;
    if (!held) held = joined(held_leases(base_));
    parts_.index->set_leases(c.number, *held);
    c.leases = held;
  }
  return all;
}

std::vector<std::string> collector::blocking(collection const& c,
                                             std::vector<std::string> const& held) {
  std::vector<std::string> found;
  for (auto const& id : split(c.leases.value_or(""), '\n')) {
    if (std::binary_search(held.begin(), held.end(), id)) found.push_back(id);
  }
  return found;
}

// Deletes the blocks of every collection that no lease keeps any more. True when none is left.
bool collector::sweep_what_is_free(std::vector<collection> const& all) {
  auto const held = held_leases(base_);
  std::vector<collection> free;
  std::set<std::string> waiting;
  report_.pending = {};
  for (auto const& c : all) {
    auto const by = blocking(c, held);
    if (by.empty()) {
      free.push_back(c);
      continue;
    }
    waiting.insert(by.begin(), by.end());
    report_.pending += c.condemned;
  }
  report_.waiting_for.clear();
  for (auto const& id : waiting) {
    if (auto text = lease_purpose(base_, id); !text.empty()) {
      report_.waiting_for.push_back(std::move(text));
    }
  }
  if (!free.empty()) {
    // The manifests of the dumps that those leases were for.
    if (!mark()) return false;
    sweep(free);
  }
  return waiting.empty();
}

void collector::sweep(std::vector<collection> const& free) {
  std::uint64_t blocks = 0;
  for (auto const& c : free) blocks += c.condemned.blocks;
  monitor_.enter("deleting blocks", blocks);
  store_index::sweep_actions const actions{
      .needed =
          [this](block_id const& id) {
            ++monitor_.done;
            return marks_.blocks().contains(id);
          },
      .exists = [this](stored_block const& block) { return is_there(block); },
      .erase =
          [this](auto blocks, auto const& meanwhile) {
            parts_.shelf->erase(blocks, options_.threads, meanwhile);
          },
      .stopped = [this] { return monitor_.stop.load(); }};
  for (auto const& c : free) {
    auto const done = parts_.index->sweep(c.number, actions);
    report_.freed += done.freed;
    report_.blocks_rescued += done.blocks_rescued;
  }
  report_.stopped = monitor_.stop;
}

// Of a condemned block that a manifest needs. Without a row, the next dump that has it sends it.
// One in a bad sector keeps its row: the error may pass, and verify is who judges blocks.
bool collector::is_there(stored_block const& block) {
  bool there = true;
  try {
    if (parts_.shelf->exists(block)) return true;
    there = false;
  } catch (error const& failure) {
    if (!is_medium_error(failure)) throw;
  }
  if (needed_and_lost_++ == 0) first_lost_ = parts_.shelf->shown(block);
  return there;
}

void collector::reclaim() {
  std::function<bool(block_id const&)> is_named;
  if (index_is_partial_) {
    is_named = [this](auto const& id) { return marks_.in_manifest(id); };
  } else {
    marks_.release();  // copying packs takes memory of its own
  }
  report_.reclaimed = parts_.shelf->reclaim(monitor_, is_named);
  auto const& done = report_.reclaimed;
  for (auto const& line : done.left_alone) warn(line);
  if (done.packs_left_alone > done.left_alone.size()) {
    warn(format("gc leaves {} more packs as they are",
                done.packs_left_alone - done.left_alone.size()));
  }
}

gc_report collector::run() {
  if (!options_.dry_run) {
    report_.interrupted_expired = expire_interrupted(base_);
    (void)remove_dead_copies(base_, parts_.blockstore);
  }
  if (!mark()) return report_;
  if (options_.dry_run) {
    count_only();
    report_.stopped = monitor_.stop;
    return report_;
  }
  condemn();
  // Nobody else condemns blocks meanwhile, but each round sweeps some.
  for (auto all = with_leases_noted(); !monitor_.stop && !sweep_what_is_free(all) && options_.wait;
       all = parts_.index->collections()) {
    monitor_.enter("waiting for dumps to end", 0);
    std::this_thread::sleep_for(limits::lease_poll_interval);
  }
  if (!monitor_.stop) parts_.index->end_collections();
  if (needed_and_lost_ > 0) {
    warn(
        format("{} blocks that manifests need are not there or cannot be read, one of them in {}; "
               "diskdump verify names the images",
               needed_and_lost_, first_lost_));
  }
  if (!monitor_.stop) reclaim();
  report_.stopped = monitor_.stop;
  return report_;
}

}  // namespace

gc_report collect_garbage(std::string const& base, gc_options const& options,
                          work_monitor& monitor) {
  // A manifest that is there is never passed over by what deletes blocks.
  DISKDUMP_ASSERT(options.dry_run || options.without.empty());
  if (options.dry_run) return collector(base, options, monitor).run();
  // The lock's folder must be a store. The index is opened under the lock only: a reindex, which
  // holds it as well, may replace the file before.
  (void)open_parts(base, {.read_only = true, .files = options.files});
  auto const path = base + "/.blockstore/gc.lock";
  for (;;) {
    if (auto const lock = lock_file::try_for(path)) return collector(base, options, monitor).run();
    if (!options.wait || monitor.stop) {
      throw error(store_errc::busy, severity::permanent)
          .path(path)
          .cause("another gc, prune or reindex is running")
          .remedy("wait for it, or give --wait");
    }
    monitor.enter("waiting for another gc to end");
    std::this_thread::sleep_for(limits::lease_poll_interval);
  }
}

}  // namespace diskdump
