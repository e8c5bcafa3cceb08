// One simulated connection between a stream of ours and a program on a machine: two directions with
// latency, bandwidth, a bounded window, and the faults that were planned for it.
#pragma once

#include <array>
#include <deque>
#include <limits>
#include <memory>
#include <optional>

#include "async/timer.hpp"
#include "async/wait_list.hpp"
#include "scenario.hpp"
#include "transport/stream.hpp"

namespace diskdump::simulation {

struct link_properties {
  std::chrono::milliseconds latency{};
  std::uint64_t bytes_per_second = 0;  // 0: no limit
  std::size_t window_bytes = 1;        // towards us
  std::size_t stdin_bytes = 1;         // towards them
  std::size_t read_bytes_max = 1;
};

class connection {
 public:
  enum class end : std::uint8_t { ours, theirs };

  connection(asio::any_io_executor const& executor, timer_source& timers, link_properties link,
             random_sequence random, trace& events);

  // As of `stream`, for either end. One read and one write at a time each.
  [[nodiscard]] task<std::size_t> read(end who, byte_span to);
  [[nodiscard]] task<> write(end who, byte_view bytes);
  // `who` writes nothing more.
  void finish(end who);
  // `who` is gone: what the other one writes is lost.
  void leave(end who);
  // The connection is lost, now, for both ends.
  void cut();
  // From now on.
  void plan(link_fault const& fault);

  // The program at their end has ended so.
  void set_exit(exit_report report);
  [[nodiscard]] std::optional<exit_report> const& exited() const noexcept { return exit_; }
  // Completes when our end has left, or the connection is lost.
  [[nodiscard]] task<> wait_for_our_end();
  // Completes when the program has ended, or the connection is lost.
  [[nodiscard]] task<> wait_for_exit();

  [[nodiscard]] std::uint64_t carried_bytes() const noexcept {
    return ways_[0].carried + ways_[1].carried;
  }
  [[nodiscard]] std::string state() const;

 private:
  struct segment {
    clock_source::steady due;
    byte_vector bytes;
    std::size_t used = 0;
  };
  // What flows to one end.
  struct way {
    way(asio::any_io_executor const& executor, std::size_t bytes_max)
        : window_bytes(bytes_max), readable(executor), writable(executor) {}
    std::size_t window_bytes;
    std::deque<segment> segments;
    std::size_t unread = 0;  // Invariant: at most window_bytes.
    clock_source::steady sent_until{};
    std::uint64_t carried = 0;
    std::uint64_t fault_at = std::numeric_limits<std::uint64_t>::max();
    bool finished = false;  // by the writer
    bool reader_gone = false;
    bool dead = false;  // nothing arrives any more
    wait_list readable;
    wait_list writable;
  };
  [[nodiscard]] way& towards(end who) noexcept { return ways_[static_cast<std::size_t>(who)]; }
  [[nodiscard]] way& away_from(end who) noexcept {
    return ways_[1 - static_cast<std::size_t>(who)];
  }
  void strike(way& at);
  void push(way& to, byte_view bytes);
  void wake();
  [[noreturn]] static void throw_lost();

  timer_source& timers_;
  link_properties link_;
  random_sequence random_;
  trace& events_;
  std::array<way, 2> ways_;
  link_fault fault_;
  bool lost_ = false;
  std::optional<exit_report> exit_;
  wait_list ended_;
};

}  // namespace diskdump::simulation
