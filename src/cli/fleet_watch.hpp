// What is known of a fleet beyond its counters: rates, attempts, times, and the order in which its
// targets are shown. Fed by the observer and by a display's tick; asked by displays, events and
// metrics. Event loop's thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/rate_meter.hpp"
#include "pipeline/fleet.hpp"

namespace diskdump {

// What became of a target, in times of the day.
struct target_record {
  std::optional<clock_source::wall> started, ended;
};

// Figures of bytes, and what they foretell.
struct work_figures {
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;  // 0: not known
  std::uint64_t bytes_wire = 0;
  std::optional<double> read_rate;  // bytes per second, over the last seconds
  std::optional<double> wire_rate;
  std::optional<int> dedup_percent;  // of the blocks whose fate is known: those not sent
  std::optional<std::chrono::duration<double>> left;
};

// A target at work.
struct target_picture {
  std::size_t index = 0;  // in the fleet
  std::string label;      // safe for a terminal
  target_state state = target_state::queued;
  unsigned attempt = 0;
  unsigned attempts_max = 0;                              // 0: not known
  std::optional<std::chrono::duration<double>> retry_in;  // of one that waits to try again
  work_figures figures;
};

struct fleet_picture {
  std::vector<target_picture> active;  // in an order that does not jump
  std::size_t label_columns = 0;       // of the longest label of the fleet, at work or not
  std::size_t targets = 0, queued = 0, done = 0, failed = 0;
  work_figures total;      // without what failed
  bool estimated = false;  // total.bytes_total holds guesses at images that are not known yet
  std::chrono::duration<double> elapsed{};
};

[[nodiscard]] bool at_work(target_state state) noexcept;
[[nodiscard]] std::string_view state_text(target_state state) noexcept;

class fleet_watch {
 public:
  // `targets` outlive it and do not move.
  fleet_watch(std::vector<fleet_target> const& targets, clock_source const& clock);

  void on_start(fleet_target const& target);
  void on_retry(fleet_target const& target, fleet_retry const& retry);
  void on_end(fleet_target const& target);

  // Notes where all counters are; several times a second.
  void sample();
  [[nodiscard]] fleet_picture picture();

  [[nodiscard]] target_record const& record(fleet_target const& target) const;
  [[nodiscard]] target_record const& record(std::size_t index) const;
  // Begun; 0 for a target that never had its turn.
  [[nodiscard]] unsigned attempts(fleet_target const& target) const;
  [[nodiscard]] clock_source::wall started() const noexcept { return wall_started_; }
  [[nodiscard]] clock_source::steady started_at() const noexcept { return started_; }

 private:
  struct watched {
    target_record record;
    unsigned attempts_max = 0;
    clock_source::steady retry_at{};
    bool begins = false;  // an attempt; it may go on where an earlier one broke off
    std::uint64_t read_seen = 0, wire_seen = 0;
    rate_meter read, wire;
  };

  [[nodiscard]] std::size_t index_of(fleet_target const& target) const;
  void sample(std::size_t index, clock_source::steady now);
  void order_active();
  [[nodiscard]] target_picture picture_of(std::size_t index, clock_source::steady now) const;
  void sum_up(fleet_picture& out) const;

  std::vector<fleet_target> const& targets_;
  clock_source const& clock_;
  std::vector<watched> watched_;
  std::vector<std::size_t> order_;  // of the targets at work
  std::uint64_t read_all_ = 0, wire_all_ = 0;
  rate_meter read_total_, wire_total_;
  clock_source::steady started_;
  clock_source::wall wall_started_;
  std::size_t label_columns_ = 0;
};

// The lines of those that ended go to those that began, the rest closes up; what is left of the new
// ones comes last. So a line stays where it is while its target is at work, as far as can be.
[[nodiscard]] std::vector<std::size_t> next_order(std::vector<std::size_t> const& before,
                                                  std::vector<std::size_t> const& active);

}  // namespace diskdump
