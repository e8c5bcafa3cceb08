// The live view on a terminal: a line per target at work and a total, redrawn in place on stderr.
// Used on the event loop's thread, except where it says otherwise.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "async/timer.hpp"
#include "pipeline/fleet.hpp"
#include "pipeline/restore.hpp"

namespace diskdump {

// Draws lines over the ones it drew before. Lines are cut to the terminal's width. Any thread: a
// store function's log line clears the view from where it is written.
class terminal_lines {
 public:
  // Whether stderr is a terminal that can move the cursor.
  [[nodiscard]] static bool available();
  ~terminal_lines() { clear(); }

  void draw(std::vector<std::string> const& lines);
  void clear();  // before anything else is written

 private:
  std::mutex mutex_;
  std::size_t drawn_ = 0;
};

// The lines for `targets` in a terminal of `columns` × `rows`.
[[nodiscard]] std::vector<std::string> fleet_lines(std::vector<fleet_target> const& targets,
                                                   clock_source::steady now, std::size_t rows);

// "host:/dev/sda -> 2026/04/24/host-sda.manifest: 1.0 GiB in 2.1 s …": how a target ended well.
[[nodiscard]] std::string outcome_text(fleet_target const& target);

// Redraw until cancelled.
[[nodiscard]] task<> show_fleet(timer_source& timers, std::vector<fleet_target> const& targets,
                                terminal_lines& lines);
[[nodiscard]] task<> show_restore(timer_source& timers, std::string name,
                                  restore_progress const& progress, terminal_lines& lines);

}  // namespace diskdump
