#include "bench/run.hpp"

#include <memory>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "bench/bench_errc.hpp"
#include "bench/store_run.hpp"

namespace diskdump {

namespace {

bench_images images_for(bench_options const& options) {
  return options.source ? bench_images(*options.source, options.work) : bench_images(options.work);
}

// Before anything is written. Each store alone: they are filled one after the other.
void check_rooms(bench_options const& options, bench_images const& images) {
  check_room(options.scratch, images.data_bytes(),
             "choose another folder with --scratch, or a smaller --size");
  auto const bytes = images.distinct_bytes();
  for (auto const& s : options.stores) {
    if (s.backend == bench_backend_kind::memory) {
      auto const room = free_memory_bytes() / 100 * limits::bench_memory_percent_max;
      if (room > 0 && bytes > room) {
        throw error(bench_errc::no_room, severity::permanent)
            .path(s.name)
            .cause(format("{} bytes may have to be kept in memory, {} % of what is free are {}",
                          bytes, limits::bench_memory_percent_max, room))
            .remedy("use a smaller --size, or leave this store out");
      }
    } else if (!s.folder.empty()) {
      check_room(s.folder, bytes, "use another folder, or a smaller --size");
    }
  }
}

// So that the first store does not pay for what is done once: the agent's way into its place, and
// the program's own pages.
task<> warm_up(bench_context& context, bench_options options, std::string const& scratch,
               bench_observer& observer, unsigned cores) {
  class quiet final : public bench_observer {
   public:
    void on_begin(bench_report const&) override {}
    void on_status(bench_status const&) override {}
    void on_phase(store_report const&, phase_report const&) override {}
  } nobody;
  observer.on_status({"", "starting", 0, 0});
  options.work.images = 1;
  options.work.image_bytes = options.work.block_bytes;
  options.work.zeros_percent = 0;
  bench_images images(options.work);
  image_folder const folder(scratch);
  bench_progress progress;
  images.write(folder.path(), progress);
  bench_backend backend({.name = "null:", .backend = bench_backend_kind::null},
                        options.work.block_bytes, folder.path(), 0, false);
  store_run run(context, options, images, backend, nobody, cores);
  co_await run.warm_up();
}

}  // namespace

task<bench_report> run_bench(bench_context& context, bench_options options,
                             bench_observer& observer) {
  image_folder const scratch(options.scratch);
  // All folders are taken before the first is filled: a mistake shows at once.
  std::vector<std::unique_ptr<bench_backend>> backends;
  for (std::size_t i = 0; i < options.stores.size(); ++i) {
    backends.push_back(std::make_unique<bench_backend>(options.stores[i], options.work.block_bytes,
                                                       scratch.path(), i + 1, options.keep));
  }
  auto images = images_for(options);
  check_rooms(options, images);
  bench_report report{.work = options.work,
                      .batch_blocks = options.batch_blocks,
                      .source = options.source,
                      .saved_percent = images.saved_percent(),
                      .image_bytes = images.image_bytes(),
                      .cores = context.workers.threads(),
                      .version = options.version,
                      .date = iso_time(context.timers.clock().wall_now())};
  observer.on_begin(report);
  co_await warm_up(context, options, scratch.path(), observer, report.cores);
  observer.on_status({"", "making images", 0, 0});
  bench_progress making;
  co_await in_background(context, making, [&] { images.write(scratch.path(), making); });
  for (auto& backend : backends) {
    store_run run(context, options, images, *backend, observer, report.cores);
    report.stores.push_back(co_await run.all_phases());
    // Gone, with its memory, before the next one is measured.
    backend.reset();
    if (report.stores.size() == backends.size()) break;
    bench_progress back;
    co_await in_background(context, back, [&] { images.rewind(back); });
  }
  co_return report;
}

}  // namespace diskdump
