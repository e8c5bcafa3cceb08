#include "wire.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "transport/connect.hpp"

namespace diskdump::simulation {

namespace {

// What arrives at once; on a slow link less, so that nothing takes longer than a quarter second.
constexpr std::size_t segment_bytes_max = 16 * limits::KiB;

}  // namespace

connection::connection(asio::any_io_executor const& executor, timer_source& timers,
                       link_properties link, random_sequence random, trace& events)
    : timers_(timers),
      link_(link),
      random_(random),
      events_(events),
      ways_{way(executor, link.window_bytes), way(executor, link.stdin_bytes)},
      ended_(executor) {
  DISKDUMP_ASSERT(link_.window_bytes > 0 && link_.stdin_bytes > 0 && link_.read_bytes_max > 0);
}

void connection::throw_lost() { throw error(transport_errc::connection_lost, severity::transient); }

void connection::wake() {
  for (auto& w : ways_) {
    w.readable.wake_all();
    w.writable.wake_all();
  }
  ended_.wake_all();
}

void connection::cut() {
  events_.add(0xc07);
  lost_ = true;
  wake();
}

void connection::finish(end who) {
  away_from(who).finished = true;
  wake();
}

void connection::leave(end who) {
  finish(who);
  towards(who).reader_gone = true;
  wake();
}

void connection::plan(link_fault const& fault) {
  if (fault.what == link_fault::kind::none) return;
  fault_ = fault;
  auto& way = fault.towards_server ? towards(end::ours) : towards(end::theirs);
  way.fault_at = way.carried + fault.after_bytes;
}

void connection::set_exit(exit_report report) {
  exit_ = std::move(report);
  wake();
}

task<> connection::wait_for_our_end() {
  while (!away_from(end::theirs).reader_gone && !lost_) co_await ended_.wait();
}

task<> connection::wait_for_exit() {
  while (!exit_ && !lost_) co_await ended_.wait();
}

void connection::strike(way& at) {
  at.fault_at = std::numeric_limits<std::uint64_t>::max();
  events_.add(0xfa0 + static_cast<std::uint64_t>(fault_.what));
  switch (fault_.what) {
    case link_fault::kind::none:
      break;
    case link_fault::kind::pause:
      at.sent_until = std::max(at.sent_until, timers_.clock().now()) + fault_.duration;
      break;
    case link_fault::kind::cut:
      cut();
      break;
    case link_fault::kind::black_hole:
      for (auto& w : ways_) w.dead = true;
      break;
  }
}

void connection::push(way& to, byte_view bytes) {
  auto const now = timers_.clock().now();
  to.sent_until = std::max(to.sent_until, now);
  if (link_.bytes_per_second > 0) {
    to.sent_until += std::chrono::microseconds(bytes.size() * 1'000'000 / link_.bytes_per_second);
  }
  to.segments.push_back({to.sent_until + link_.latency, {bytes.begin(), bytes.end()}});
  to.unread += bytes.size();
  to.carried += bytes.size();
  events_.add(to.carried);
  events_.deed();
  to.readable.wake_all();
}

task<> connection::write(end who, byte_view bytes) {
  auto& to = away_from(who);
  DISKDUMP_ASSERT(!to.finished);
  while (!bytes.empty()) {
    if (lost_ || to.reader_gone) throw_lost();
    if (to.carried >= to.fault_at) {
      strike(to);
      continue;
    }
    auto most = std::min(segment_bytes_max, bytes.size());
    if (link_.bytes_per_second > 0) {
      most = std::min<std::size_t>(most, std::max<std::uint64_t>(1, link_.bytes_per_second / 4));
    }
    most = static_cast<std::size_t>(
        std::min<std::uint64_t>({most, to.window_bytes - to.unread, to.fault_at - to.carried}));
    if (most == 0) {
      co_await to.writable.wait();
      continue;
    }
    if (random_.percent(20)) most = random_.between(1, most);
    push(to, bytes.first(most));
    bytes = bytes.subspan(most);
  }
  if (lost_) throw_lost();
}

task<std::size_t> connection::read(end who, byte_span to) {
  auto& from = towards(who);
  DISKDUMP_ASSERT(!to.empty());
  for (;;) {
    if (lost_) throw_lost();
    if (from.dead) {
      // Only sshd learns that its client is gone, and ends the program; later, but it does.
      if (who == end::theirs && away_from(who).reader_gone) throw_lost();
      co_await from.readable.wait();
      continue;
    }
    if (from.segments.empty()) {
      if (from.finished) co_return 0;
      co_await from.readable.wait();
      continue;
    }
    auto const now = timers_.clock().now();
    auto const due = from.segments.front().due;
    if (due <= now) break;
    co_await timers_.sleep(due - now);
  }
  auto& first = from.segments.front();
  auto const n = std::min({to.size(), first.bytes.size() - first.used, link_.read_bytes_max});
  std::copy_n(first.bytes.begin() + static_cast<std::ptrdiff_t>(first.used), n, to.begin());
  first.used += n;
  from.unread -= n;
  if (first.used == first.bytes.size()) from.segments.pop_front();
  from.writable.wake_all();
  events_.deed();
  co_return n;
}

std::string connection::state() const {
  std::string text = lost_ ? "lost" : "up";
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    auto const& w = ways_[i];
    text += format("; {}: {} carried, {} unread{}{}{}", i == 0 ? "to us" : "to them", w.carried,
                   w.unread, w.finished ? ", finished" : "", w.reader_gone ? ", reader gone" : "",
                   w.dead ? ", dead" : "");
  }
  return text;
}

}  // namespace diskdump::simulation
