#include "world.hpp"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <numeric>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "store/manifest.hpp"

namespace diskdump::simulation {

namespace {

constexpr unsigned worker_threads = 4;
// Ten times what the longest of 10,000 worlds took: a coroutine that runs in circles.
constexpr std::uint64_t turns_max = 2'000'000;
// 200 targets, one at a time, each with a few attempts that run into every timeout there is.
constexpr std::chrono::hours time_max{24 * 30};
// Longer than any pause that a scenario or a retry makes.
constexpr std::chrono::hours idle_max{4};
// Who sleeps and is woken takes a turn; if nobody does, the one that was woken was lost.
constexpr unsigned wakes_without_turn_max = 1000;

}  // namespace

world::world(scenario plan, run_options const& options)
    : plan_(std::move(plan)),
      options_(options),
      base_(format("{}/{}", options.folder, plan_.seed)),
      random_(plan_.seed ^ 0x5eed),
      chance_(random_.fork()),
      turns_(random_.fork(), plan_.policy, trace_),
      timers_(turns_.executor()),
      workers_(turns_.executor(), worker_threads),
      writers_(turns_.disk_executor(), limits::writer_threads),
      store_(plan_.store, options.broken, trace_),
      log_(options.verbose ? log_level::debug : log_level::error,
           [this](log_level, std::string_view line) {
             std::cout << "  [" << time_passed().count() << " s] " << line << '\n';
           }),
      context_{.executor = turns_.executor(),
               .workers = workers_,
               .writers = writers_,
               .timers = timers_,
               .store = store_,
               .claims = claims_,
               .log = log_,
               .base = base_},
      network_(turns_.executor(), timers_, plan_, random_.fork(), trace_) {
  std::filesystem::create_directories(base_ + "/.blockstore/tmp");
  for (std::uint32_t i = 0; i < plan_.store.held_before; ++i) {
    auto const& block = pooled((plan_.first_block + i) % pool_blocks);
    store_.hold(block.id, frame_of(block.bytes));
  }
  for (auto const& t : plan_.targets) {
    if (t.previous) make_previous(t, *t.previous);
  }
  if (options.broken == sabotage::lost_settle) network_.lose_settles();
  if (options.broken == sabotage::lost_wakeup) turns_.lose_one();
  std::vector<std::size_t> all(plan_.targets.size());
  std::iota(all.begin(), all.end(), 0);
  make_targets(std::move(all));
}

world::~world() { remove_files(); }

void world::remove_files() { std::filesystem::remove_all(base_); }

std::chrono::seconds world::time_passed() const {
  return std::chrono::duration_cast<std::chrono::seconds>(timers_.clock().now() -
                                                          clock_source::steady{});
}

std::uint64_t world::resumable_bytes(std::size_t number) const {
  auto const at = resumable_bytes_.find(number);
  return at == resumable_bytes_.end() ? 0 : at->second;
}

void world::make_previous(target_plan_of_seed const& target, previous_dump const& previous) {
  auto const& host = plan_.hosts[target.host].name;
  auto const machine = previous.of_other_machine ? "elsewhere" : host;
  auto const blocks = previous.source.geometry().blocks();
  auto const date = timers_.clock().wall_now() - std::chrono::hours(24);
  manifest_writer manifest(base_, default_manifest_name(host, target.path),
                           {.source = machine + ":" + target.path,
                            .date = iso_time(date),
                            .geometry = previous.source.geometry(),
                            .extra = {}});
  for (block_index i; i.value < blocks.value; ++i) {
    auto const id = previous.source.id(i);
    manifest.add(id);
    bool const lost = previous.lost_one_in > 0 && i.value % previous.lost_one_in == 0;
    if (!lost) store_.hold(id, frame_of(previous.source.block(i)));
  }
  auto const path = manifest.publish(date);
  if (previous.damaged) std::filesystem::resize_file(base_ + "/" + path, 30);
  earlier_manifests_.push_back(path);
}

void world::make_targets(std::vector<std::size_t> numbers) {
  numbers_ = std::move(numbers);
  targets_.clear();
  for (auto const number : numbers_) {
    auto const& t = plan_.targets[number];
    fleet_target target;
    target.host = plan_.hosts[t.host].name;
    target.path = t.path;
    target.label = target.host + ":" + t.path;
    target.manifest_name = default_manifest_name(target.host, t.path);
    targets_.push_back(std::move(target));
  }
  told_.assign(targets_.size(), {});
}

// ---- What the observer is told ------------------------------------------------------------------

told& world::about(fleet_target const& target) {
  return told_[static_cast<std::size_t>(&target - targets_.data())];
}

void world::on_start(fleet_target const& target) { ++about(target).starts; }

void world::on_retry(fleet_target const& target, fleet_retry const& retry) {
  ++about(target).retries;
  trace_.deed();
  log_.debug(format("{}: attempt {} of {} failed: {}", target.label, retry.attempt,
                    retry.attempts_max, diskdump::describe(retry.failure)));
}

void world::on_end(fleet_target const& target) {
  ++about(target).ends;
  trace_.deed();
  trace_.add(target.manifest ? 0xd03e : 0xfa11);
  trace_.add(target.progress.bytes_wire);
  log_.debug(format("{}: {}", target.label,
                    target.manifest ? *target.manifest : diskdump::describe(target.failure)));
}

// ---- Running ------------------------------------------------------------------------------------

task<> world::dump_all() {
  fleet_options options;
  options.targets_active_max = plan_.targets_active_max;
  options.block_bytes = block_bytes;
  options.batch_blocks = plan_.batch_blocks;
  options.codec = plan_.codec;
  options.agents = network_.agents();
  options.skip_bad_sectors = plan_.skip_bad_sectors;
  options.retries.attempts_max = plan_.attempts_max;
  options.chance = [this] { return static_cast<double>(chance_.below(1000)) / 1000; };
  options.keep_interrupted = plan_.keeps_interrupted;
  options.resume = next_day_;
  co_await dump_fleet(context_, network_.connector(), targets_, options, *this);
}

task<> world::await_programs() { co_await network_.programs_ended(); }

task<> world::pause_store() {
  co_await timers_.sleep(plan_.store.pauses_at);
  turns_.hold_back(true);
  co_await timers_.sleep(plan_.store.pauses_for);
  turns_.hold_back(false);
}

std::string world::run_until(bool& done) {
  unsigned wakes = 0;  // since the last turn
  while (!done) {
    if (plan_.cancelled_at_turn && !cancelled_ && turns_.taken() >= *plan_.cancelled_at_turn) {
      cancelled_ = true;
      cancelled_since_ = timers_.clock().now();
      cancel_.emit(asio::cancellation_type::terminal);
    }
    if (turns_.taken() > turns_max) return "it takes more turns than there should be";
    if (turns_.run_one()) {
      wakes = 0;
      continue;
    }
    if (++wakes > wakes_without_turn_max) return "somebody was woken and never goes on";
    if (!timers_.advance_to_next()) return "everything waits, and nobody sleeps";
    auto const now = timers_.clock().now();
    if (trace_.deeds() != deeds_) {
      deeds_ = trace_.deeds();
      last_deed_ = now;
    } else if (now - last_deed_ > idle_max) {
      return "for hours nothing has happened but the passing of time";
    }
    trace_.add(static_cast<std::uint64_t>(timers_.clock().now().time_since_epoch().count()));
    if (time_passed() > time_max) return "it takes more time than there should be";
  }
  return {};
}

bool world::has_next_day() const noexcept {
  return plan_.next_day && !next_day_ &&
         std::any_of(targets_.begin(), targets_.end(),
                     [](fleet_target const& t) { return !t.manifest; });
}

std::string world::run_next_day() {
  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    if (targets_[i].manifest) {
      earlier_manifests_.push_back(*targets_[i].manifest);
    } else {
      left.push_back(numbers_[i]);
      resumable_bytes_[numbers_[i]] = targets_[i].resumable_bytes;
    }
  }
  next_day_ = true;
  cancelled_ = dumped_ = quiet_ = false;
  plan_.cancelled_at_turn.reset();
  store_.heal();
  network_.heal();
  timers_.advance(std::chrono::hours(20));
  last_deed_ = timers_.clock().now();
  make_targets(std::move(left));
  return run();
}

std::string world::run() {
  auto const note_end = [this](bool& done) {
    return [this, &done](std::exception_ptr e) {
      if (e && !failure_) failure_ = e;
      done = true;
    };
  };
  asio::co_spawn(turns_.executor(), dump_all(),
                 asio::bind_cancellation_slot(cancel_.slot(), note_end(dumped_)));
  bool paused = plan_.store.pauses_for.count() == 0 || next_day_;
  if (!paused) asio::co_spawn(turns_.executor(), pause_store(), note_end(paused));
  if (auto const why = run_until(dumped_); !why.empty()) return "the dump never ends: " + why;
  if (failure_) return "dump_fleet() threw " + diskdump::describe(failure_);
  // The word takes turns to get around, but no time.
  if (cancelled_ && network_.last_beginning() > cancelled_since_) {
    return "something was begun after it was cancelled";
  }
  asio::co_spawn(turns_.executor(), await_programs(), note_end(quiet_));
  if (auto const why = run_until(quiet_); !why.empty()) {
    return "an agent is left that never ends: " + why;
  }
  if (auto const why = run_until(paused); !why.empty()) return "the pause never ends: " + why;
  while (turns_.run_one()) {
  }
  if (timers_.sleepers() > 0) return "somebody still sleeps";
  if (!turns_.loop_is_empty()) return "somebody still waits on the event loop";
  return {};
}

std::string world::state() const {
  std::string text =
      format("  {} s passed, {} turns, {} sleepers, {} claims\n", time_passed().count(),
             turns_.taken(), timers_.sleepers(), claims_.size());
  for (auto const& t : targets_) {
    auto const& p = t.progress;
    text += format("  {}: state {}, {} of {} bytes announced, {} stored, {} reused, {} zero: {}\n",
                   t.label, static_cast<int>(p.state), p.announced_bytes, p.image_bytes,
                   p.blocks_stored.value, p.blocks_reused.value, p.blocks_zero.value,
                   t.manifest  ? *t.manifest
                   : t.failure ? diskdump::describe(t.failure)
                               : "no outcome");
  }
  return text + network_.state();
}

}  // namespace diskdump::simulation
