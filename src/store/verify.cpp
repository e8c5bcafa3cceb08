#include "store/verify.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>

#include "base/assert.hpp"
#include "base/bytes.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/io_errc.hpp"
#include "store/store_error.hpp"
#include "store/unsynced.hpp"
#include "store/verify_run.hpp"

namespace diskdump {

namespace {

constexpr std::string_view cursor_name = "verify-cursor";

// Held before the index is opened, so that no reindex moves a damaged one away: what this run sets
// aside would keep its row in the new one. A run that changes nothing may be on a read-only disk.
std::optional<dump_lease> lease_to_repair(std::string const& base, bool repair) {
  if (!repair) return std::nullopt;
  check_is_store(base);  // before anything is changed
  return std::optional<dump_lease>(std::in_place, base, "verify");
}

// Without repair the store may be another user's, or on a disk that can only be read.
bool can_note_position(std::string const& blockstore) {
  return ::access(blockstore.c_str(), W_OK) == 0;
}

}  // namespace

verify_run::verify_run(std::string const& base, verify_options const& options,
                       work_monitor& monitor)
    : base_(base),
      options_(options),
      monitor_(monitor),
      lease_(lease_to_repair(base, options.repair)),
      parts_(open_parts(base, {.read_only = !options.repair, .log = options.log})),
      lists_(base) {
  DISKDUMP_ASSERT(!options.manifest || !options.sample_percent);
}

// ---- Phase 0: the part --------------------------------------------------------------------------

// A sample is a run of folders, which are equal parts of the digests: where the last run ended, the
// next one goes on. Where nothing can be noted, each begins anywhere, so that runs get around.
void verify_run::choose_part() {
  if (!options_.sample_percent) return;
  notes_position_ = options_.repair || can_note_position(parts_.blockstore);
  auto const text = parts_.files->read(parts_.layout.in(cursor_name), 64);
  if (text) {
    auto const digits = as_text(*text);
    (void)std::from_chars(digits.data(), digits.data() + digits.size(), first_folder_);
    first_folder_ %= block_folders;  // whatever a person wrote there
  }
  if (!notes_position_) first_folder_ = std::random_device{}() % block_folders;
  auto const share = std::clamp(*options_.sample_percent, 0.0, 100.0) / 100;
  folders_ = std::clamp(static_cast<unsigned>(std::ceil(share * block_folders)), 1U, block_folders);
  report_.sample_from = 100.0 * first_folder_ / block_folders;
  report_.sample_to = 100.0 * (first_folder_ + folders_) / block_folders;
}

void verify_run::remember_position() const {
  if (!options_.sample_percent || !notes_position_) return;
  auto const next = (first_folder_ + folders_) % block_folders;
  auto const path = parts_.layout.in(cursor_name);
  // Without it, after a crash between the two, the next run begins at the start.
  writing([&] {
    (void)parts_.files->remove(path);
    (void)parts_.files->create_exclusive(path, as_bytes(format("{}\n", next)));
  });
}

void verify_run::read_wanted() {
  if (!options_.manifest) return;
  manifest_reader reader(*options_.manifest, lists_);
  if (!reader.has_lists()) {
    while (auto const id = reader.next()) (void)marks_.add(*id, wanted);
  }
  while (auto const list = reader.next_list()) {
    (void)marks_.add(list->id, wanted);
    try {
      for (auto const& id : reader.read_list()) (void)marks_.add(id, wanted);
    } catch (error const& failure) {
      // Phase 2 says what this list hits.
      if (failure.kind() != severity::corruption) throw;
    }
  }
}

// Whether this run judges the block.
bool verify_run::is_ours(block_id const& id, std::uint8_t bits) const noexcept {
  if (options_.manifest) return (bits & wanted) != 0;
  auto const folder = folder_of(id);
  return (folder + block_folders - first_folder_) % block_folders < folders_;
}

// ---- Damage -------------------------------------------------------------------------------------

void verify_run::report_damage(stored_block const& block, block_condition const& condition) {
  auto const& id = block.id;
  if ((marks_.add(id, reported) & reported) != 0) return;  // another thread, another manifest
  using from = block_condition::kind;
  using to = block_damage::kind;
  block_damage damage{.id = id,
                      .what = to::damaged,
                      .detail = condition.detail,
                      .path = parts_.shelf->shown(block),
                      .quarantined = {}};
  switch (condition.what) {
    case from::truncated:
      damage.what = to::truncated;
      break;
    case from::empty:
      damage.what = to::empty;
      break;
    case from::unreadable:
      damage.what = to::unreadable;
      break;
    case from::absent:
      damage.what = to::missing;
      if (damage.detail.empty()) damage.detail = "there is no such file";
      break;
    case from::good:
    case from::damaged:
      break;
  }
  if (options_.repair) {
    try {
      if (auto const path = set_aside(parts_, id)) damage.quarantined = ".blockstore/" + *path;
    } catch (error const& failure) {
      damage.detail += format("; it could not be set aside: {}", failure.what());
    }
  }
  std::lock_guard const lock(mutex_);
  ++report_.damages_total;
  if (report_.damages.size() < limits::verify_findings_max) {
    report_.damages.push_back(std::move(damage));
  }
}

// ---- All of it ----------------------------------------------------------------------------------

verify_report verify_run::run() {
  choose_part();
  read_wanted();
  check_blocks();
  if (!monitor_.stop) check_manifests();
  // From here on every damage is known.
  if (!monitor_.stop) remember_position();
  bool const all = !options_.manifest && !options_.sample_percent && options_.repair;
  if (all && !monitor_.stop) forget_unsynced(*parts_.files, parts_.layout, base_, 1);
  finish();
  return std::move(report_);
}

void verify_run::finish() {
  report_.blocks = blocks_;
  report_.stored_bytes = stored_bytes_;
  report_.content_bytes = content_bytes_;
  report_.unindexed = unindexed_;
  report_.stopped = monitor_.stop;
  auto& damages = report_.damages;
  std::sort(damages.begin(), damages.end(),
            [](auto const& a, auto const& b) { return a.id < b.id; });
  // Those without a row that no manifest turned out to name.
  std::uint64_t without_row = bad_without_row_;
  report_.leftovers = 0;
  if (without_row > 0) {
    marks_.for_each([this](block_id const&, std::uint8_t bits) {
      if ((bits & bad) != 0 && (bits & reported) == 0) ++report_.leftovers;
    });
  }
  std::sort(ranges_.begin(), ranges_.end(), [](range const& a, range const& b) {
    return std::tie(a.id, a.where.manifest, a.where.offset_bytes) <
           std::tie(b.id, b.where.manifest, b.where.offset_bytes);
  });
  for (auto& found : ranges_) {
    auto const at =
        std::lower_bound(damages.begin(), damages.end(), found.id,
                         [](block_damage const& d, block_id const& id) { return d.id < id; });
    if (at == damages.end() || at->id != found.id) continue;
    found.where.damage = static_cast<std::size_t>(at - damages.begin());
    report_.ranges.push_back(std::move(found.where));
  }
  std::sort(report_.manifests_damaged.begin(), report_.manifests_damaged.end(),
            [](auto const& a, auto const& b) { return a.manifest < b.manifest; });
}

verify_report verify_store(std::string const& base, verify_options const& options,
                           work_monitor& monitor) {
  return verify_run(base, options, monitor).run();
}

}  // namespace diskdump
