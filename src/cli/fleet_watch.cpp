#include "cli/fleet_watch.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/limits.hpp"
#include "cli/screen_text.hpp"

namespace diskdump {

namespace {

std::optional<std::chrono::duration<double>> time_for(std::uint64_t bytes,
                                                      std::optional<double> rate) {
  // Less than a byte a second: nobody knows. Nothing left: what remains is to be sent or stored.
  if (bytes == 0 || !rate || *rate < 1) return std::nullopt;
  return std::chrono::duration<double>(static_cast<double>(bytes) / *rate);
}

struct block_sums {
  std::uint64_t spared = 0;
  std::uint64_t known = 0;

  void add(target_progress const& p) {
    auto const reused = p.blocks_reused.value + p.blocks_zero.value + p.blocks_resumed.value;
    spared += reused;
    known += reused + p.blocks_stored.value;
  }
  [[nodiscard]] std::optional<int> percent() const {
    if (known == 0) return std::nullopt;
    return static_cast<int>(static_cast<double>(spared) * 100 / static_cast<double>(known));
  }
};

std::uint64_t rest(std::uint64_t done, std::uint64_t total) {
  return total > done ? total - done : 0;
}

}  // namespace

bool at_work(target_state state) noexcept {
  switch (state) {
    case target_state::queued:
    case target_state::done:
    case target_state::failed:
      return false;
    case target_state::connecting:
    case target_state::starting:
    case target_state::dumping:
    case target_state::retrying:
    case target_state::sealing:
      return true;
  }
  return false;
}

std::string_view state_text(target_state state) noexcept {
  switch (state) {
    case target_state::queued:
      return "queued";
    case target_state::connecting:
      return "connecting";
    case target_state::starting:
      return "starting the agent";
    case target_state::dumping:
      return "dumping";
    case target_state::retrying:
      return "waiting to try again";
    case target_state::sealing:
      return "making durable";
    case target_state::done:
      return "done";
    case target_state::failed:
      return "failed";
  }
  return "";
}

std::vector<std::size_t> next_order(std::vector<std::size_t> const& before,
                                    std::vector<std::size_t> const& active) {
  std::vector<std::size_t> fresh;
  auto const has = [](std::vector<std::size_t> const& sorted, std::size_t index) {
    return std::binary_search(sorted.begin(), sorted.end(), index);
  };
  auto shown = before;
  std::sort(shown.begin(), shown.end());
  for (auto const index : active) {
    if (!has(shown, index)) fresh.push_back(index);
  }
  std::vector<std::size_t> out;
  auto next = fresh.begin();
  for (auto const index : before) {
    if (has(active, index)) {
      out.push_back(index);
    } else if (next != fresh.end()) {
      out.push_back(*next++);
    }
  }
  out.insert(out.end(), next, fresh.end());
  return out;
}

fleet_watch::fleet_watch(std::vector<fleet_target> const& targets, clock_source const& clock)
    : targets_(targets),
      clock_(clock),
      watched_(targets.size()),
      started_(clock.now()),
      wall_started_(clock.wall_now()) {
  for (auto const& t : targets) {
    label_columns_ = std::max(label_columns_, columns_of(screen_text(t.label)));
  }
}

std::size_t fleet_watch::index_of(fleet_target const& target) const {
  auto const at = static_cast<std::size_t>(&target - targets_.data());
  DISKDUMP_ASSERT(at < targets_.size());
  return at;
}

target_record const& fleet_watch::record(fleet_target const& target) const {
  return record(index_of(target));
}

target_record const& fleet_watch::record(std::size_t index) const {
  return watched_.at(index).record;
}

unsigned fleet_watch::attempts(fleet_target const& target) const {
  return record(target).started ? target.progress.attempts : 0;
}

void fleet_watch::on_start(fleet_target const& target) {
  auto& w = watched_[index_of(target)];
  w.record.started = clock_.wall_now();
  w.begins = true;
}

void fleet_watch::on_retry(fleet_target const& target, fleet_retry const& retry) {
  auto& w = watched_[index_of(target)];
  w.attempts_max = retry.attempts_max;
  w.retry_at = clock_.now() + retry.pause;
  w.begins = true;
  w.read = {};
  w.wire = {};
}

void fleet_watch::on_end(fleet_target const& target) {
  auto const index = index_of(target);
  watched_[index].record.ended = clock_.wall_now();
  sample(index, clock_.now());
}

// Where an attempt goes on from was not read now: it counts for no rate.
void fleet_watch::sample(std::size_t index, clock_source::steady now) {
  auto& w = watched_[index];
  auto const& p = targets_[index].progress;
  if (w.begins) {
    if (p.state == target_state::retrying) return;
    if (p.attempts > 1 || p.blocks_resumed.value > 0) w.read_seen = p.announced_bytes;
    w.begins = p.state != target_state::dumping;
  }
  read_all_ += rest(w.read_seen, p.announced_bytes);
  wire_all_ += rest(w.wire_seen, p.bytes_wire);
  w.read_seen = p.announced_bytes;
  w.wire_seen = p.bytes_wire;
  if (p.state == target_state::dumping) {
    w.read.note(now, p.announced_bytes);
    w.wire.note(now, p.bytes_wire);
  }
}

void fleet_watch::sample() {
  auto const now = clock_.now();
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    if (at_work(targets_[i].progress.state)) sample(i, now);
  }
  read_total_.note(now, read_all_);
  wire_total_.note(now, wire_all_);
}

void fleet_watch::order_active() {
  std::vector<std::size_t> active;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    if (at_work(targets_[i].progress.state)) active.push_back(i);
  }
  order_ = next_order(order_, active);
}

target_picture fleet_watch::picture_of(std::size_t index, clock_source::steady now) const {
  auto const& t = targets_[index];
  auto const& p = t.progress;
  auto const& w = watched_[index];
  target_picture out;
  out.index = index;
  out.label = screen_text(t.label);
  out.state = p.state;
  out.attempt = p.attempts + (p.state == target_state::retrying ? 1 : 0);
  out.attempts_max = w.attempts_max;
  if (p.state == target_state::retrying) {
    out.retry_in = std::max(w.retry_at, now) - now;
  }
  out.figures = {.bytes_done = std::min(p.announced_bytes, p.image_bytes),
                 .bytes_total = p.image_bytes,
                 .bytes_wire = p.bytes_wire,
                 .read_rate = {},
                 .wire_rate = {},
                 .dedup_percent = {},
                 .left = {}};
  block_sums blocks;
  blocks.add(p);
  out.figures.dedup_percent = blocks.percent();
  if (p.state == target_state::dumping && !w.begins) {
    out.figures.read_rate = w.read.over(limits::rate_window);
    out.figures.wire_rate = w.wire.over(limits::rate_window);
    out.figures.left =
        time_for(rest(p.announced_bytes, p.image_bytes), w.read.over(limits::eta_window));
  }
  return out;
}

// An image whose size nobody knows yet is taken to be like those that are known.
void fleet_watch::sum_up(fleet_picture& out) const {
  std::uint64_t known = 0, unknown = 0;
  block_sums blocks;
  for (auto const& t : targets_) {
    auto const& p = t.progress;
    out.total.bytes_wire += p.bytes_wire;
    blocks.add(p);
    out.queued += p.state == target_state::queued ? 1 : 0;
    out.done += p.state == target_state::done ? 1 : 0;
    if (p.state == target_state::failed) {
      ++out.failed;
      continue;
    }
    out.total.bytes_done += std::min(p.announced_bytes, p.image_bytes);
    out.total.bytes_total += p.image_bytes;
    bool const is_known = p.image_bytes > 0 || p.state == target_state::done;
    ++(is_known ? known : unknown);
  }
  out.total.dedup_percent = blocks.percent();
  out.estimated = unknown > 0;
  if (known > 0) out.total.bytes_total += out.total.bytes_total / known * unknown;
  out.total.read_rate = read_total_.over(limits::rate_window);
  out.total.wire_rate = wire_total_.over(limits::rate_window);
  if (known > 0) {
    out.total.left = time_for(rest(out.total.bytes_done, out.total.bytes_total),
                              read_total_.over(limits::eta_window));
  }
}

fleet_picture fleet_watch::picture() {
  auto const now = clock_.now();
  order_active();
  fleet_picture out;
  out.targets = targets_.size();
  out.label_columns = label_columns_;
  out.elapsed = now - started_;
  for (auto const index : order_) out.active.push_back(picture_of(index, now));
  sum_up(out);
  return out;
}

}  // namespace diskdump
