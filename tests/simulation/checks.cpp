#include "checks.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/format.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"
#include "store/manifest.hpp"

namespace diskdump::simulation {

namespace {

std::string why_failed(fleet_target const& target) {
  return target.failure ? diskdump::describe(target.failure) : "it did not";
}

class checker {
 public:
  explicit checker(world& w) : world_(w), records_(w.plan().targets.size()) {
    for (auto const& r : w.net().records()) records_[r.target].push_back(&r);
  }
  std::vector<std::string> run() {
    nothing_left();
    store_is_sound();
    for (std::size_t i = 0; i < world_.targets().size(); ++i) {
      one_target(world_.targets()[i], world_.numbers()[i], world_.observed()[i]);
    }
    manifests_are_those_told();
    counters_add_up();
    if (world_.plan().flawless_and_brisk() && !world_.is_next_day()) every_block_crossed_once();
    return std::move(wrong_);
  }

 private:
  template <class... Args>
  void expect(bool right, fmt::format_string<Args...> text, Args&&... args) {
    if (!right) wrong_.push_back(format(text, std::forward<Args>(args)...));
  }
  void nothing_left();
  void store_is_sound();
  void one_target(fleet_target const& target, std::size_t number, told const& observed);
  void image_is_restored(fleet_target const& target, std::size_t number);
  void progress_is_true(fleet_target const& target, std::size_t number);
  void goes_on_where_it_was(fleet_target const& target, std::size_t number);
  void little_is_sent_again(fleet_target const& target, std::size_t number);
  void nothing_strange_is_expected(fleet_target const& target, std::size_t number);
  [[nodiscard]] bool must_succeed(std::size_t number) const;
  void manifests_are_those_told();
  void counters_add_up();
  void every_block_crossed_once();
  [[nodiscard]] image const& source_of(std::size_t number) const;

  world& world_;
  std::vector<std::vector<agent_record const*>> records_;  // of each target of the plan
  std::map<block_id, byte_vector> contents_;               // of the store, decoded
  std::set<block_id> durable_;
  std::vector<std::string> wrong_;
};

void checker::nothing_left() {
  expect(world_.claims().size() == 0, "{} claims are left", world_.claims().size());
  auto const& net = world_.net();
  expect(net.open_streams() == 0, "{} streams are left open", net.open_streams());
  expect(net.open_hosts() == 0, "{} connections are left open", net.open_hosts());
  expect(net.programs_running() == 0, "{} programs still run", net.programs_running());
}

// Whatever the machines sent: under each digest stands what has it.
void checker::store_is_sound() {
  auto& store = world_.store();
  store.list([&](stored_block const& block) { durable_.insert(block.id); });
  auto held = store.stored();
  held.insert(held.end(), durable_.begin(), durable_.end());
  block_decompressor decompressor;
  byte_vector raw(block_bytes);
  for (auto const& id : held) {
    if (contents_.contains(id)) continue;
    auto const frame = store.get(id);
    expect(frame.has_value(), "the store said that it holds {}, and has lost it", id.hex());
    if (!frame) continue;
    auto const n = decompressor.lz4_frame(*frame, raw);
    auto const content = byte_view(raw).first(n);
    expect(sha256(content) == id, "the store holds other content as {}", id.hex());
    contents_.emplace(id, byte_vector(content.begin(), content.end()));
  }
}

image const& checker::source_of(std::size_t number) const {
  auto const& target = world_.plan().targets[number];
  bool const second = !records_[number].empty() && records_[number].back()->second_source;
  return second ? target.second : target.first;
}

// A target without a fault of its own, or whose faults pass before its attempts are used up.
bool checker::must_succeed(std::size_t number) const {
  auto const& plan = world_.plan();
  if (world_.cancelled() || world_.store().failed()) return false;
  auto const& attempts = plan.targets[number].attempts;
  // What was kept of the first source cannot be continued with the second one.
  if (world_.is_next_day()) return !attempts.back().changed_source;
  return plan.flawless(number) || plan.outlasts_its_faults(number);
}

void checker::one_target(fleet_target const& target, std::size_t number, told const& observed) {
  auto const& label = target.label;
  auto const state = target.progress.state;
  expect(observed.ends == 1, "{}: its end was told {} times", label, observed.ends);
  expect(observed.starts <= 1, "{}: its start was told {} times", label, observed.starts);
  expect(observed.starts == 1 || world_.cancelled(), "{}: its start was never told", label);
  expect(target.manifest.has_value() != (target.failure != nullptr),
         "{}: it has neither, or both, of a manifest and a failure", label);
  expect(state == (target.manifest ? target_state::done : target_state::failed),
         "{}: its state is {}", label, static_cast<int>(state));
  expect(!target.interrupted || world_.cancelled(), "{}: interrupted by nobody: {}", label,
         why_failed(target));
  // Nor is it tried again: a later attempt that succeeds would hide that the first one should have.
  bool const well = world_.is_next_day() || world_.plan().flawless(number);
  expect(observed.retries == 0 || !well, "{}: tried again without a fault of its own", label);
  expect(target.manifest || !must_succeed(number), "{}: failed without a fault that lasts: {}",
         label, why_failed(target));
  goes_on_where_it_was(target, number);
  little_is_sent_again(target, number);
  nothing_strange_is_expected(target, number);
  if (!target.manifest) return;
  image_is_restored(target, number);
  progress_is_true(target, number);
}

// An attempt begins behind all that the one before was told to be held, and a later run behind what
// the earlier one said that it can go on with.
void checker::goes_on_where_it_was(fleet_target const& target, std::size_t number) {
  auto const& records = records_[number];
  std::uint64_t known = (world_.resumable_bytes(number) + block_bytes - 1) / block_bytes;
  for (auto const* const r : records) {
    expect(r->first_block.value >= known, "{}: attempt {} begins at block {}, and {} were held",
           target.label, r->attempt, r->first_block.value, known);
    auto const& plan = world_.plan().targets[number];
    auto const& source = r->second_source ? plan.second : plan.first;
    for (auto i = r->first_block; i.value < source.geometry().blocks().value; ++i) {
      if (source.is_zero(i)) continue;
      if (!r->held.contains(i.value)) break;
      known = std::max(known, i.value + 1);
    }
  }
}

// What was stored of a target that is tried again is not sent again.
void checker::little_is_sent_again(fleet_target const& target, std::size_t number) {
  auto const& records = records_[number];
  if (records.empty()) return;
  auto const& plan = world_.plan().targets[number];
  auto const data = std::max(plan.first.data_blocks(), plan.second.data_blocks());
  std::uint64_t sent = 0;
  for (auto const* r : records) sent += r->sent.size();
  auto const allowed = data + (records.size() - 1) * world_.plan().batch_blocks;
  expect(sent <= allowed, "{}: {} blocks were sent in {} attempts, more than {}", target.label,
         sent, records.size(), allowed);
}

// Digests of one machine are not told to another, and a damaged manifest is believed nowhere.
void checker::nothing_strange_is_expected(fleet_target const& target, std::size_t number) {
  auto const& previous = world_.plan().targets[number].previous;
  bool const none =
      !world_.is_next_day() && (!previous || previous->of_other_machine || previous->damaged);
  for (auto const* const r : records_[number]) {
    expect(!none || r->expected.empty(), "{}: {} blocks were as expected, but nothing was",
           target.label, r->expected.size());
  }
}

void checker::image_is_restored(fleet_target const& target, std::size_t number) {
  auto const& source = source_of(number);
  auto const geometry = source.geometry();
  try {
    manifest_reader reader(world_.base() + "/" + *target.manifest);
    auto const& header = reader.header();
    expect(header.geometry.image_bytes == geometry.image_bytes &&
               header.geometry.block_bytes == block_bytes,
           "{}: its manifest says {} bytes instead of {}", target.label,
           header.geometry.image_bytes, geometry.image_bytes);
    block_index at;
    for (; auto const id = reader.next(); ++at) {
      if (at.value >= geometry.blocks().value) break;
      auto const found = contents_.find(*id);
      auto const wanted = source.block(at);
      expect(found != contents_.end() && std::ranges::equal(found->second, wanted),
             "{}: block {} does not come back as it was", target.label, at.value);
      expect(durable_.contains(*id), "{}: block {} is not durable", target.label, at.value);
      if (!wrong_.empty()) return;
    }
    expect(at.value == geometry.blocks().value, "{}: its manifest has {} blocks instead of {}",
           target.label, at.value, geometry.blocks().value);
    auto const bad = std::ranges::count(
        header.extra, "bad_range", [](auto const& line) { return std::string_view(line.first); });
    bool const skipped = world_.plan().targets[number].attempts.front().skips_bad_sector;
    expect(bad == (skipped ? 1 : 0), "{}: its manifest lists {} bad ranges", target.label, bad);
  } catch (std::exception const& e) {
    expect(false, "{}: its manifest cannot be read: {}", target.label, e.what());
  }
}

void checker::progress_is_true(fleet_target const& target, std::size_t number) {
  auto const& p = target.progress;
  auto const geometry = source_of(number).geometry();
  expect(p.image_bytes == geometry.image_bytes && p.blocks == geometry.blocks(),
         "{}: told as {} bytes in {} blocks", target.label, p.image_bytes, p.blocks.value);
  expect(p.announced_bytes == p.image_bytes, "{}: {} of {} bytes announced", target.label,
         p.announced_bytes, p.image_bytes);
  auto const sum =
      p.blocks_stored.value + p.blocks_reused.value + p.blocks_zero.value + p.blocks_resumed.value;
  expect(sum == p.blocks.value, "{}: {} stored, {} reused, {} zero and {} resumed of {} blocks",
         target.label, p.blocks_stored.value, p.blocks_reused.value, p.blocks_zero.value,
         p.blocks_resumed.value, p.blocks.value);
  expect(p.bytes_wire > 0, "{}: not a byte crossed the wire", target.label);
  auto const& plan = world_.plan().targets[number];
  auto const bad = plan.attempts.front().skips_bad_sector
                       ? geometry.length_bytes(plan.attempts.front().bad_block)
                       : 0;
  expect(p.bad_bytes == bad, "{}: {} bad bytes instead of {}", target.label, p.bad_bytes, bad);
  auto const& records = records_[number];
  expect(!records.empty() && records.back()->said_end && !records.back()->misdeed_done,
         "{}: it has a manifest without an honest END", target.label);
}

void checker::manifests_are_those_told() {
  std::multiset<std::string> told;
  for (auto const& t : world_.targets()) {
    if (t.manifest) told.insert(*t.manifest);
  }
  told.insert(world_.earlier_manifests().begin(), world_.earlier_manifests().end());
  std::multiset<std::string> found;
  auto const& base = world_.base();
  for (auto const& entry : std::filesystem::recursive_directory_iterator(base)) {
    auto const path = entry.path().string();
    if (entry.is_regular_file() && !path.starts_with(base + "/.blockstore")) {
      found.insert(path.substr(base.size() + 1));
    }
  }
  expect(told == found, "{} manifests were told, and {} files are there", told.size(),
         found.size());
}

// What is told as stored is what the store took; nothing crossed the wire untold or twice told.
void checker::counters_add_up() {
  std::set<block_id> zero_ids{zero_block_id(block_bytes)};
  for (auto const& t : world_.plan().targets) {
    for (auto const* source : {&t.first, &t.second}) {
      auto const blocks = source->geometry().blocks().value;
      if (blocks > 0 && source->is_zero({blocks - 1})) zero_ids.insert(source->id({blocks - 1}));
    }
  }
  std::uint64_t stored = 0;
  std::uint64_t wire = 0;
  bool all_well = true;
  for (auto const& t : world_.targets()) {
    stored += t.progress.blocks_stored.value;
    wire += t.progress.bytes_wire;
    all_well &= t.manifest.has_value();
  }
  auto const& puts = world_.store().stored();
  auto const taken = static_cast<std::uint64_t>(std::count_if(
      puts.begin(), puts.end(), [&](block_id const& id) { return !zero_ids.contains(id); }));
  expect(all_well ? stored == taken : stored <= taken,
         "{} blocks were told as stored, and the store took {}", stored, taken);
  expect(wire <= world_.net().carried_bytes(), "{} bytes were told, and {} crossed the wire", wire,
         world_.net().carried_bytes());
}

// Single flight, where nothing went wrong: each distinct block that the store lacked, and once.
void checker::every_block_crossed_once() {
  auto const& plan = world_.plan();
  std::set<block_id> wanted;
  for (auto const& t : plan.targets) {
    for (block_index i; i.value < t.first.geometry().blocks().value; ++i) {
      if (!t.first.is_zero(i)) wanted.insert(t.first.id(i));
    }
  }
  for (auto const& t : plan.targets) {
    if (!t.previous) continue;
    auto const& before = *t.previous;
    for (block_index i; i.value < before.source.geometry().blocks().value; ++i) {
      bool const lost = before.lost_one_in > 0 && i.value % before.lost_one_in == 0;
      if (!lost) wanted.erase(before.source.id(i));
    }
  }
  for (std::uint32_t i = 0; i < plan.store.held_before; ++i) {
    wanted.erase(pooled((plan.first_block + i) % pool_blocks).id);
  }
  std::multiset<block_id> sent;
  for (auto const& r : world_.net().records()) sent.insert(r.sent.begin(), r.sent.end());
  expect(sent.size() == wanted.size() && std::ranges::equal(sent, wanted),
         "{} blocks crossed the wire where {} were wanted", sent.size(), wanted.size());
}

}  // namespace

std::vector<std::string> check_world(world& w) { return checker(w).run(); }

}  // namespace diskdump::simulation
