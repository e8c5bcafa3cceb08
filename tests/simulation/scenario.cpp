#include "scenario.hpp"

#include <algorithm>
#include <array>

#include "base/format.hpp"
#include "base/limits.hpp"

namespace diskdump::simulation {

namespace {

using namespace std::chrono_literals;

constexpr std::array misdeeds{
    std::pair{misdeed::none, "none"},
    std::pair{misdeed::dies, "dies"},
    std::pair{misdeed::falls_silent, "falls silent"},
    std::pair{misdeed::stops, "stops"},
    std::pair{misdeed::read_fails, "read fails"},
    std::pair{misdeed::source_shrinks, "source shrinks"},
    std::pair{misdeed::wrong_content, "wrong content"},
    std::pair{misdeed::broken_frame, "broken frame"},
    std::pair{misdeed::index_out_of_range, "index out of range"},
    std::pair{misdeed::not_asked_for, "not asked for"},
    std::pair{misdeed::sent_twice, "sent twice"},
    std::pair{misdeed::early_end, "early end"},
    std::pair{misdeed::wrong_totals, "wrong totals"},
    std::pair{misdeed::window_exceeded, "window exceeded"},
    std::pair{misdeed::too_many_zeros, "too many zeros"},
    std::pair{misdeed::too_many_expected, "too many expected"},
    std::pair{misdeed::impossible_size, "impossible size"},
    std::pair{misdeed::note_flood, "note flood"},
    std::pair{misdeed::garbage, "garbage"},
};
// The first so many of them are a machine that fails, the others one that lies.
constexpr std::size_t failing_misdeeds = 6;

constexpr auto brisk_wait_max = 100ms;
constexpr std::uint64_t brisk_bytes_per_second_min = 20'000'000;

// What one seed's fleet is like as a whole.
struct mood {
  unsigned faulty_target_percent = 0;
  unsigned faulty_host_percent = 0;
  unsigned slow_host_percent = 0;
  bool hostile = false;
  std::uint64_t blocks_max = 0;
};

link_fault make_link_fault(random_sequence& random, std::uint64_t image_bytes) {
  link_fault fault;
  fault.towards_server = random.percent(75);
  // Most within what an image takes, so that they are met.
  fault.after_bytes =
      random.below(fault.towards_server ? image_bytes + 600 : image_bytes / 64 + 90);
  switch (random.below(6)) {
    case 0:
      fault.what = link_fault::kind::pause;
      fault.duration = random.milliseconds(1, 40'000);
      break;
    case 1:
      fault.what = link_fault::kind::pause;
      fault.duration = random.milliseconds(60'000, 4'000'000);
      break;
    case 2:
    case 3:
      fault.what = link_fault::kind::black_hole;
      break;
    default:
      fault.what = link_fault::kind::cut;
      break;
  }
  return fault;
}

attempt_plan make_attempt(random_sequence& random, mood const& mood, image const& source,
                          bool faulty, bool skip_bad_sectors) {
  attempt_plan attempt;
  auto const blocks = source.geometry().blocks().value;
  if (random.percent(10))
    attempt.read_pause = random.milliseconds(1, random.percent(50) ? 100 : 2000);
  if (random.percent(10)) attempt.notes = static_cast<unsigned>(random.between(1, 5));
  if (skip_bad_sectors && blocks > 0 && random.percent(30)) {
    attempt.skips_bad_sector = true;
    attempt.bad_block = {random.below(blocks)};
  }
  if (!faulty) return attempt;
  attempt.after_blocks = random.below(blocks + 1);
  auto const kind = random.below(mood.hostile ? 4 : 2);
  if (kind == 0) {
    attempt.link = make_link_fault(random, source.geometry().image_bytes);
  } else if (kind == 1) {
    attempt.agent = misdeeds[random.between(1, failing_misdeeds - 1)].first;
  } else {
    attempt.agent = misdeeds[random.between(failing_misdeeds, misdeeds.size() - 1)].first;
  }
  return attempt;
}

std::optional<previous_dump> make_previous(random_sequence& random, mood const& mood,
                                           scenario const& all, image const& now) {
  if (random.percent(50)) return std::nullopt;
  previous_dump previous;
  switch (random.below(4)) {
    case 0:
      previous.source = now;
      break;
    case 1:
      previous.source =
          make_image(random, mood.blocks_max, all.batch_blocks, all.first_block, all.common_blocks);
      break;
    default:
      previous.source = now.changed(random, random.percent(50));
      break;
  }
  if (random.percent(40)) previous.lost_one_in = random.between(1, 9);
  previous.of_other_machine = random.percent(10);
  previous.damaged = random.percent(5);
  return previous;
}

target_plan_of_seed make_target(random_sequence& random, mood const& mood, scenario const& all,
                                std::size_t host, std::size_t number) {
  target_plan_of_seed target;
  target.host = host;
  target.path = format("/dev/disk{}", number);
  target.first =
      make_image(random, mood.blocks_max, all.batch_blocks, all.first_block, all.common_blocks);
  target.previous = make_previous(random, mood, all, target.first);
  bool const faulty = random.percent(mood.faulty_target_percent);
  std::uint64_t const attempts = faulty ? random.between(1, 4) : 1;
  bool const changes = faulty && random.percent(25);
  if (changes) {
    target.second_same_size = random.percent(50);
    target.second = target.first.changed(random, target.second_same_size);
    target.second_same_size =
        target.second.geometry().image_bytes == target.first.geometry().image_bytes;
  }
  for (std::uint64_t i = 0; i < attempts; ++i) {
    target.attempts.push_back(
        make_attempt(random, mood, target.first, faulty, all.skip_bad_sectors && !changes));
    target.attempts.back().changed_source = changes && i > 0;
    if (i > 0) {
      target.attempts.back().skips_bad_sector = target.attempts.front().skips_bad_sector;
      target.attempts.back().bad_block = target.attempts.front().bad_block;
    }
  }
  auto const& disk = target.attempts.front();
  if (disk.skips_bad_sector) target.first.lose(disk.bad_block);
  // What the disk is like stays so after the last fault.
  auto last = target.attempts.back();
  last.link = {};
  last.agent = misdeed::none;
  target.attempts.push_back(last);
  return target;
}

host_plan make_host(random_sequence& random, mood const& mood, std::size_t number) {
  host_plan host;
  host.name = format("host{}", number);
  bool const slow = random.percent(mood.slow_host_percent);
  host.latency = random.percent(40) ? 0ms : random.milliseconds(1, slow ? 1500 : 100);
  host.bytes_per_second = slow                 ? random.between(2000, 50'000)
                          : random.percent(50) ? 0
                                               : brisk_bytes_per_second_min;
  host.window_bytes_max = random.percent(10) ? random.between(1000, 9000) : limits::GiB;
  host.stdin_bytes_max = random.percent(20) ? random.between(64, 600) : limits::MiB;
  // One byte at a time finds every parser that relies on whole messages, and takes its time.
  auto const read_bytes_min = random.percent(5) ? 1 : 100;
  host.read_bytes_max = random.percent(10) ? random.between(read_bytes_min, 900) : limits::GiB;
  host.has_agent = random.percent(70);
  host.has_sftp = random.percent(70);
  host.login_noise_lines = random.percent(20) ? static_cast<unsigned>(random.between(1, 9)) : 0;
  if (!random.percent(mood.faulty_host_percent)) return host;
  auto const times = random.between(1, 3);
  switch (random.below(3)) {
    case 0:
      for (std::uint64_t i = 0; i < times; ++i) {
        host.connects.push_back(static_cast<host_plan::connect_fault>(random.between(1, 3)));
      }
      break;
    case 1:
      for (std::uint64_t i = 0; i < times; ++i) {
        host.starts.push_back(static_cast<start_fault>(random.between(1, 5)));
      }
      break;
    default:
      host.breaks_at = random.milliseconds(0, 20'000);
      break;
  }
  return host;
}

mood make_mood(random_sequence& random) {
  mood m;
  switch (random.below(4)) {
    case 0:  // all well
      break;
    case 1:
      m.faulty_target_percent = 15;
      m.faulty_host_percent = 5;
      break;
    case 2:
      m.faulty_target_percent = 40;
      m.faulty_host_percent = 15;
      break;
    default:
      m.faulty_target_percent = 30;
      m.hostile = true;
      break;
  }
  m.slow_host_percent = random.percent(30) ? 30 : 0;
  return m;
}

void make_store(random_sequence& random, scenario& all) {
  auto& store = all.store;
  if (random.percent(30)) store.held_before = static_cast<std::uint32_t>(random.between(1, 200));
  if (random.percent(12)) {
    store.pauses_at = random.percent(30) ? 0ms : random.milliseconds(0, 3000);
    store.pauses_for = random.milliseconds(1000, 300'000);
  }
  if (!random.percent(8)) return;
  if (random.percent(70)) {
    store.puts_until_full = random.below(60);
  } else {
    store.barriers_until_full = random.below(all.targets.size() + 1);
  }
}

}  // namespace

std::string_view to_string(misdeed what) noexcept {
  auto const at = std::find_if(misdeeds.begin(), misdeeds.end(),
                               [what](auto const& m) { return m.first == what; });
  return at->second;
}

// Shorter than half of the silence that ends a target: with what else there is to wait for, it
// does no harm.
bool attempt_plan::duration_hurts() const noexcept {
  return link.duration > limits::silence_timeout_max / 2;
}

bool scenario::flawless(std::size_t target) const noexcept {
  auto const& t = targets[target];
  return !hosts[t.host].faulty() && std::none_of(t.attempts.begin(), t.attempts.end(),
                                                 [](attempt_plan const& a) { return a.faulty(); });
}

bool attempt_plan::passes() const noexcept {
  return agent == misdeed::none || agent == misdeed::dies || agent == misdeed::falls_silent ||
         agent == misdeed::stops;
}

std::optional<std::size_t> host_plan::attempts_lost() const noexcept {
  for (auto const c : connects) {
    if (c == connect_fault::refuses_login) return std::nullopt;
  }
  for (auto const s : starts) {
    if (s != start_fault::none && s != start_fault::cut && s != start_fault::hangs) {
      return std::nullopt;
    }
  }
  return connects.size() + starts.size() + (breaks_at ? 1 : 0);
}

bool scenario::outlasts_its_faults(std::size_t target) const noexcept {
  auto const& t = targets[target];
  auto const lost = hosts[t.host].attempts_lost();
  bool const passes = std::all_of(t.attempts.begin(), t.attempts.end(), [](attempt_plan const& a) {
    return a.passes() && !a.changed_source;
  });
  // The last plan is the one without fault.
  return lost && passes && *lost + t.attempts.size() - 1 < attempts_max;
}

bool scenario::flawless_and_brisk() const noexcept {
  if (store.faulty() || store.pauses_for > 0ms || cancelled_at_turn) return false;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    auto const& target = targets[i];
    auto const& host = hosts[target.host];
    bool const brisk =
        host.latency <= brisk_wait_max &&
        (host.bytes_per_second == 0 || host.bytes_per_second >= brisk_bytes_per_second_min) &&
        std::all_of(target.attempts.begin(), target.attempts.end(), [](attempt_plan const& a) {
          return a.read_pause <= brisk_wait_max && a.link.what == link_fault::kind::none;
        });
    if (!brisk || !flawless(i)) return false;
  }
  return true;
}

scenario make_scenario(std::uint64_t seed) {
  random_sequence random(seed);
  scenario all;
  all.seed = seed;
  auto mood = make_mood(random);
  all.policy = static_cast<turn_policy>(random.below(3));
  all.codec = static_cast<codec_policy>(random.below(3));
  all.skip_bad_sectors = random.percent(15);
  all.attempts_max = static_cast<unsigned>(random.between(1, 6));
  all.keeps_interrupted = random.percent(80);
  all.next_day = random.percent(50);
  all.batch_blocks =
      static_cast<std::uint32_t>(random.percent(15) ? random.between(1, 7) : random.between(8, 80));
  all.first_block = static_cast<std::uint32_t>(random.below(pool_blocks));
  all.common_blocks = static_cast<std::uint32_t>(random.between(1, 120));

  // Mostly a handful of machines with some blocks, now and then a hall of them with few.
  auto const size = random.below(100);
  std::uint64_t hosts = size < 75 ? random.between(1, 4) : size < 97 ? random.between(5, 20) : 150;
  mood.blocks_max = size < 75 ? random.between(1, 120) : size < 97 ? 30 : 6;
  all.targets_active_max = random.percent(30) ? random.between(1, 3) : random.between(4, 64);
  for (std::uint64_t h = 0; h < hosts; ++h) {
    all.hosts.push_back(make_host(random, mood, h));
    auto const paths = random.percent(70) ? 1 : random.between(1, 6);
    for (std::uint64_t p = 0; p < paths; ++p) {
      all.targets.push_back(make_target(random, mood, all, h, p));
    }
  }
  if (all.targets.size() == 1) {
    all.targets.push_back(make_target(random, mood, all, 0, 99));
  }
  if (all.targets.size() > 200) all.targets.resize(200);
  make_store(random, all);
  // Not before the first turn: a fleet that has not begun tells nothing of its targets.
  if (random.percent(4)) {
    all.cancelled_at_turn = 1 + random.below(random.percent(50) ? 300 : 20'000);
  }
  return all;
}

std::string describe(scenario const& what) {
  std::string text = format(
      "seed {}: {} targets on {} hosts, {} at a time, batch {}, {} attempts, turns {}, codec {}\n",
      what.seed, what.targets.size(), what.hosts.size(), what.targets_active_max, what.batch_blocks,
      what.attempts_max, static_cast<int>(what.policy), static_cast<int>(what.codec));
  if (what.store.puts_until_full) {
    text += format("  store: full after {} puts\n", *what.store.puts_until_full);
  }
  if (what.store.barriers_until_full) {
    text += format("  store: full after {} barriers\n", *what.store.barriers_until_full);
  }
  if (what.store.pauses_for > 0ms) {
    text += format("  store: stands still at {} ms for {} ms\n", what.store.pauses_at.count(),
                   what.store.pauses_for.count());
  }
  if (what.cancelled_at_turn) text += format("  cancelled at turn {}\n", *what.cancelled_at_turn);
  for (auto const& h : what.hosts) {
    if (!h.faulty()) continue;
    text += format("  {}: {} bad connects, {} bad starts, breaks at {} ms\n", h.name,
                   h.connects.size(), h.starts.size(), h.breaks_at ? h.breaks_at->count() : -1);
  }
  for (auto const& t : what.targets) {
    text += format("  {}{}: {} blocks ({} data)", what.hosts[t.host].name, t.path,
                   t.first.geometry().blocks().value, t.first.data_blocks());
    for (auto const& a : t.attempts) {
      if (!a.faulty() && !a.changed_source) continue;
      text += format("; {} at {}, link {} at {}{} for {} ms{}", to_string(a.agent), a.after_blocks,
                     static_cast<int>(a.link.what), a.link.towards_server ? "<" : ">",
                     a.link.after_bytes, a.link.duration.count(),
                     a.changed_source ? ", source changed" : "");
    }
    text += '\n';
  }
  return text;
}

}  // namespace diskdump::simulation
