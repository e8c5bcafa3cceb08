// Measures one phase: its time, what it took of the machine, and counters over time. Used on the
// event loop's thread only.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "async/timer.hpp"
#include "bench/process_usage.hpp"
#include "bench/report.hpp"

namespace diskdump {

// What a phase shows of itself while it runs.
struct phase_view {
  std::vector<std::string> counters;  // names
  std::function<std::vector<std::uint64_t>()> read;
  // What is being done that nothing else goes on beside; empty: nothing of the kind.
  std::function<std::string()> activity = [] { return std::string(); };
  // Told to end early, where cancellation does not reach the work.
  std::function<void()> stop = [] {};
};

class phase_meter {
 public:
  // Measures from now on.
  phase_meter(timer_source& timers, phase_view view);

  // Completes when `work` has, resuming on the executor, and takes samples until then. Throws what
  // `work` throws. Cancelled: cancels `work`, calls view.stop, and waits for its end.
  [[nodiscard]] task<> run(task<> work);

  // What was measured, in `into`. After run().
  void report(phase_report& into);
  // How long each activity took, as far as samples tell.
  [[nodiscard]] std::map<std::string, std::chrono::duration<double>> const& activities() const {
    return activities_;
  }
  // The event loop's own time on a processor.
  [[nodiscard]] std::chrono::duration<double> loop_cpu() const { return used_.thread; }

 private:
  [[nodiscard]] task<> watch();
  [[nodiscard]] task<> work_then_end(task<> work, class scope& both);
  void sample();

  timer_source& timers_;
  phase_view view_;
  cpu_usage before_;
  clock_source::steady began_;
  clock_source::steady sampled_;
  bool ended_well_ = false;

  std::chrono::duration<double> time_{};
  cpu_usage used_;
  std::uint64_t memory_before_ = 0, children_memory_ = 0;
  std::map<std::string, std::chrono::duration<double>> activities_;
  time_series series_;
};

}  // namespace diskdump
