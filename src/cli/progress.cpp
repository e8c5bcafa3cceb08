#include "cli/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/text.hpp"

namespace diskdump {

namespace {

struct terminal_size {
  std::size_t columns = 80;
  std::size_t rows = 24;
};

terminal_size size_of_terminal() {
  winsize w{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col == 0) return {};
  return {w.ws_col, std::max<std::size_t>(w.ws_row, 3)};
}

// Cuts by characters, not bytes: the continuation bytes of UTF-8 take no column.
std::string cut(std::string const& line, std::size_t columns) {
  std::string out;
  std::size_t used = 0;
  for (char const c : line) {
    bool const starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (starts && ++used > columns) break;
    out += c;
  }
  return out;
}

std::string eta_text(std::uint64_t done, std::uint64_t all, std::chrono::duration<double> time) {
  if (done == 0 || done >= all) return "";
  auto const rest = static_cast<double>(all - done) / static_cast<double>(done) * time.count();
  return "ETA " + time_text(std::chrono::duration<double>(rest));
}

int percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0
             ? 100
             : static_cast<int>(static_cast<double>(part) * 100 / static_cast<double>(whole));
}

std::string_view state_text(target_state s) {
  switch (s) {
    case target_state::queued:
      return "queued";
    case target_state::connecting:
      return "connecting";
    case target_state::starting:
      return "starting the agent";
    case target_state::dumping:
      return "dumping";
    case target_state::sealing:
      return "making durable";
    case target_state::done:
      return "done";
    case target_state::failed:
      return "failed";
  }
  return "";
}

bool at_work(fleet_target const& t) {
  auto const s = t.progress.state;
  return s != target_state::queued && s != target_state::done && s != target_state::failed;
}

// Blocks that did not have to be sent, of those whose fate is known.
int dedup_percent(target_progress const& p) {
  auto const spared = p.blocks_reused.value + p.blocks_zero.value;
  auto const known = spared + p.blocks_stored.value;
  return known == 0 ? 0 : percent(spared, known);
}

std::string target_line(fleet_target const& t, clock_source::steady now) {
  auto const& p = t.progress;
  if (p.state != target_state::dumping || p.image_bytes == 0) {
    return format("{:<28} {}", t.label, state_text(p.state));
  }
  auto const time = now - p.started;
  return format("{:<28} {:>3}% {:>10} of {:>10}  {:>9}  dedup {:>3}%  wire {:>10}  {}", t.label,
                percent(p.announced_bytes, p.image_bytes), size_text(p.announced_bytes),
                size_text(p.image_bytes), rate_text(p.announced_bytes, time), dedup_percent(p),
                size_text(p.bytes_wire), eta_text(p.announced_bytes, p.image_bytes, time));
}

}  // namespace

bool terminal_lines::available() {
  char const* const kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && kind != nullptr && std::strcmp(kind, "dumb") != 0;
}

void terminal_lines::draw(std::vector<std::string> const& lines) {
  auto const columns = size_of_terminal().columns;
  std::lock_guard const lock(mutex_);
  std::string out;
  if (drawn_ > 0) out += format("\x1b[{}A", drawn_);
  for (auto const& line : lines) out += "\r" + cut(line, columns - 1) + "\x1b[K\n";
  out += "\x1b[J";
  drawn_ = lines.size();
  std::fwrite(out.data(), 1, out.size(), stderr);
}

void terminal_lines::clear() {
  std::lock_guard const lock(mutex_);
  if (drawn_ == 0) return;
  auto const out = format("\x1b[{}A\r\x1b[J", drawn_);
  drawn_ = 0;
  std::fwrite(out.data(), 1, out.size(), stderr);
}

std::vector<std::string> fleet_lines(std::vector<fleet_target> const& targets,
                                     clock_source::steady now, std::size_t rows) {
  std::vector<std::string> lines;
  std::size_t active = 0, done = 0, failed = 0;
  std::uint64_t announced = 0, image = 0, wire = 0;
  std::optional<clock_source::steady> started;
  for (auto const& t : targets) {
    auto const& p = t.progress;
    done += p.state == target_state::done ? 1 : 0;
    failed += p.state == target_state::failed ? 1 : 0;
    announced += p.announced_bytes;
    image += p.image_bytes;
    wire += p.bytes_wire;
    if (p.state != target_state::queued && (!started || p.started < *started)) started = p.started;
    if (!at_work(t)) continue;
    // The last two rows are for the sum of what does not fit, and for the total.
    if (++active + 2 <= rows) lines.push_back(target_line(t, now));
  }
  if (active > lines.size())
    lines.push_back(format("… and {} more at work", active - lines.size()));
  auto const time = started ? now - *started : clock_source::steady::duration::zero();
  lines.push_back(format("total: {} of {} targets done{}, {} read at {}, wire {}  {}", done,
                         targets.size(), failed ? format(", {} failed", failed) : "",
                         size_text(announced), rate_text(announced, time), size_text(wire),
                         eta_text(announced, image, time)));
  return lines;
}

std::string outcome_text(fleet_target const& target) {
  auto const& p = target.progress;
  auto const time = p.ended - p.started;
  auto text =
      format("{} -> {}: {} in {} ({}); {} blocks: {} new, {} known, {} zero; wire {}", target.label,
             target.manifest.value_or("?"), size_text(p.image_bytes), time_text(time),
             rate_text(p.image_bytes, time), p.blocks.value, p.blocks_stored.value,
             p.blocks_reused.value, p.blocks_zero.value, size_text(p.bytes_wire));
  if (p.bad_bytes > 0) text += format("; {} bytes UNREADABLE, stored as zeros", p.bad_bytes);
  return text;
}

task<> show_fleet(timer_source& timers, std::vector<fleet_target> const& targets,
                  terminal_lines& lines) {
  for (;;) {
    lines.draw(fleet_lines(targets, timers.clock().now(), size_of_terminal().rows));
    co_await timers.sleep(limits::progress_interval);
  }
}

task<> show_restore(timer_source& timers, std::string name, restore_progress const& progress,
                    terminal_lines& lines) {
  auto const started = timers.clock().now();
  for (;;) {
    auto const time = timers.clock().now() - started;
    lines.draw(
        {format("{}  {:>3}%  {} of {}  {}  {}", name,
                percent(progress.done_bytes, progress.image_bytes), size_text(progress.done_bytes),
                size_text(progress.image_bytes), rate_text(progress.done_bytes, time),
                eta_text(progress.done_bytes, progress.image_bytes, time))});
    co_await timers.sleep(limits::progress_interval);
  }
}

}  // namespace diskdump
