#include "bench/phase_meter.hpp"

#include <algorithm>

#include "async/scope.hpp"
#include "base/limits.hpp"

namespace diskdump {

phase_meter::phase_meter(timer_source& timers, phase_view view)
    : timers_(timers), view_(std::move(view)) {
  static_cast<void>(restart_memory_peak());
  memory_before_ = memory_bytes();
  before_ = cpu_used();
  began_ = sampled_ = timers_.clock().now();
  series_.add({}, view_.read());
}

void phase_meter::sample() {
  auto const now = timers_.clock().now();
  auto const what = view_.activity();
  if (!what.empty()) activities_[what] += now - sampled_;
  sampled_ = now;
  series_.add(now - began_, view_.read());
  children_memory_ = std::max(children_memory_, children_memory_peak_bytes());
}

task<> phase_meter::watch() {
  try {
    for (;;) {
      co_await timers_.sleep(limits::bench_sample_interval);
      // Its time may have come as the work ended.
      if (ended_well_) co_return;
      sample();
    }
  } catch (...) {
    if (!ended_well_) view_.stop();
    throw;
  }
}

task<> phase_meter::work_then_end(task<> work, scope& both) {
  co_await std::move(work);
  time_ = timers_.clock().now() - began_;
  ended_well_ = true;
  both.cancel();
}

task<> phase_meter::run(task<> work) {
  try {
    co_await with_scope([&](scope& both) {
      both.spawn(watch());
      both.spawn(work_then_end(std::move(work), both));
    });
  } catch (...) {
    // The end of the watcher is not a failure.
    if (!ended_well_) throw;
  }
  auto const after = cpu_used();
  used_ = {.process = after.process - before_.process,
           .children = after.children - before_.children,
           .thread = after.thread - before_.thread,
           .machine = after.machine - before_.machine};
  auto const what = view_.activity();
  if (!what.empty()) activities_[what] += timers_.clock().now() - sampled_;
  series_.finish(time_, view_.read());
}

void phase_meter::report(phase_report& into) {
  into.time = time_;
  into.cpu_server = used_.process;
  into.cpu_agent = used_.children;
  into.cpu_others = std::max(used_.machine - used_.process - used_.children, {});
  into.memory_server_bytes = memory_peak_bytes();
  into.memory_before_bytes = memory_before_;
  into.memory_agent_bytes = children_memory_;
  into.counters = view_.counters;
  into.series = series_;
}

}  // namespace diskdump
