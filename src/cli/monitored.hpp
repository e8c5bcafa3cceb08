// A long blocking call of the store (gc, verify, …) as a verb runs it: away from the event loop,
// with a display of how far it is, and told to stop by the first SIGINT, SIGTERM or SIGHUP.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cli/runtime.hpp"
#include "store/monitor.hpp"

namespace diskdump {

// How far the work is, and since when it is in this phase.
struct work_state {
  std::string phase;
  std::uint64_t done = 0;
  std::uint64_t total = 0;  // 0: not known
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;  // 0: the phase reads no blocks
  std::chrono::duration<double> elapsed{};

  [[nodiscard]] std::optional<std::chrono::duration<double>> left() const;
};

// "gc: reading manifests  45%  9 of 20  18/s  ETA 1 s"
[[nodiscard]] std::string work_line(std::string_view verb, work_state const& state);

// Runs `work` on another thread until it has returned, and throws what it throws. Meanwhile a line
// on the terminal, or a JSON event a second, or a line a minute on stderr, tells of it. A signal
// sets `stop` of the monitor and is remembered as process.interrupted().
void run_monitored(runtime& process, global_options const& global, std::string const& verb,
                   std::function<void(work_monitor&)> const& work);

}  // namespace diskdump
