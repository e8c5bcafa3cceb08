// One store of a benchmark, from its first dump to its collection: each phase is done as the verb
// does it, and measured. Used on the event loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/backend.hpp"
#include "bench/measured_store.hpp"
#include "bench/phase_meter.hpp"
#include "bench/run.hpp"
#include "pipeline/fleet.hpp"
#include "pipeline/restore.hpp"
#include "store/monitor.hpp"

namespace diskdump {

class store_run {
 public:
  store_run(bench_context& context, bench_options const& options, bench_images& images,
            bench_backend& backend, bench_observer& observer, unsigned cores)
      : context_(context),
        options_(options),
        images_(images),
        backend_(backend),
        observer_(observer),
        cores_(cores) {
    report_.name = backend.name();
  }

  // Completes when the last phase has ended. Throws what fails, and where a dump, a restore or a
  // collection did not do what it should. Cancelled: ends it.
  [[nodiscard]] task<store_report> all_phases();
  // A dump that is not told of.
  [[nodiscard]] task<> warm_up() { co_await dump(bench_phase::first); }

 private:
  task<phase_report> dump(bench_phase which);
  task<phase_report> restore();
  task<phase_report> verify();
  task<phase_report> collect();

  task<> restore_images(restore_context& context, restore_progress& progress);
  std::vector<fleet_target> make_targets() const;
  fleet_options fleet() const;
  void show(bench_phase which, std::uint64_t done, std::uint64_t total) const {
    observer_.on_status({backend_.name(), std::string(name_of(which)), done, total});
  }
  void tell(phase_report done);
  phase_view view_of(bench_phase which, work_monitor& monitor) const;
  void explain_work(phase_report& done, phase_meter const& meter) const;
  void explain_dump(phase_report& done, phase_meter const& meter, stage_times const& times) const;
  void take_latencies(phase_report& into);

  bench_context& context_;
  bench_options const& options_;
  bench_images& images_;
  bench_backend& backend_;
  bench_observer& observer_;
  unsigned cores_;
  store_report report_;
  std::unique_ptr<store_latencies> latencies_;
  std::vector<std::vector<std::string>> manifests_;  // of each dump, one of each image
};

// The benchmark's own check of what it measures: a dump that loses or repeats work must not look
// fast. Empty where a dump counted what was made, else what is different. Pure.
[[nodiscard]] std::string count_difference(bench_images::expectation const& made,
                                           phase_report const& found);

// Completes when `work` has run on the blocking threads; cancelled, it sets `progress.stop` and
// throws when `work` has ended.
[[nodiscard]] task<> in_background(bench_context& context, bench_progress& progress,
                                   std::function<void()> work);

}  // namespace diskdump
