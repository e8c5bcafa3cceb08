#include "bench/store_run.hpp"

#include <algorithm>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "bench/bench_errc.hpp"
#include "bench/discarding_disk.hpp"
#include "store/gc.hpp"
#include "store/prune.hpp"
#include "store/verify.hpp"
#include "transport/passphrase_book.hpp"

namespace diskdump {

namespace {

constexpr double changed_percent = 5;

class silent_observer final : public fleet_observer {
 public:
  void on_start(fleet_target const&) override {}
  void on_retry(fleet_target const&, fleet_retry const&) override {}
  void on_end(fleet_target const&) override {}
};

[[noreturn]] void throw_interrupted() {
  throw std::system_error(asio::error::make_error_code(asio::error::operation_aborted));
}

error wrong_counts(std::string const& store, std::string_view cause) {
  return error(bench_errc::wrong_counts, severity::permanent)
      .path(store)
      .cause(cause)
      .remedy("this is a bug of diskdump: please report it");
}

call_latencies latencies_of(latency_histogram const& h) {
  return {.count = h.count(),
          .p50 = h.quantile(0.5),
          .p99 = h.quantile(0.99),
          .p999 = h.quantile(0.999),
          .max = h.max(),
          .total = h.total(),
          .distribution = h.distribution()};
}

stage_load stage_of(stage_times const& times, stage which, char const* name, char const* does,
                    unsigned threads) {
  auto const f = times.of(which);
  return {.name = name, .does = does, .threads = threads, .busy = f.busy, .cpu = f.cpu};
}

}  // namespace

std::vector<fleet_target> store_run::make_targets() const {
  std::vector<fleet_target> targets;
  for (std::size_t i = 0; i < images_.paths().size(); ++i) {
    fleet_target t;
    t.host = "localhost";
    t.path = images_.paths()[i];
    t.label = t.host + ":" + t.path;
    t.manifest_name = format("image-{}", i + 1);
    targets.push_back(std::move(t));
  }
  return targets;
}

fleet_options store_run::fleet() const {
  fleet_options o;
  o.targets_active_max = limits::targets_active_default;
  o.block_bytes = options_.work.block_bytes;
  o.batch_blocks = options_.batch_blocks;
  o.agents = context_.agents;
  o.retries.attempts_max = 1;
  o.keep_interrupted = false;
  return o;
}

// ---- Dumps --------------------------------------------------------------------------------------

namespace {

// Of all targets together.
struct dump_sums {
  std::uint64_t announced = 0, wire = 0;
  phase_report counts;
  bool one_is_dumping = false, one_has_begun = false;
};

dump_sums sums_of(std::vector<fleet_target> const& targets) {
  dump_sums s;
  for (auto const& t : targets) {
    auto const& p = t.progress;
    s.announced += p.announced_bytes;
    s.wire += p.bytes_wire;
    s.one_is_dumping = s.one_is_dumping || p.announced_bytes > 0;
    s.counts.image_bytes += p.image_bytes;
    s.counts.blocks += p.blocks.value;
    s.counts.blocks_stored += p.blocks_stored.value;
    s.counts.blocks_reused += p.blocks_reused.value;
    s.counts.blocks_zero += p.blocks_zero.value;
    s.counts.wire_bytes += p.bytes_wire;
  }
  return s;
}

}  // namespace

task<phase_report> store_run::dump(bench_phase which) {
  latencies_ = std::make_unique<store_latencies>();
  measured_store store(backend_.open_for_dump(), *latencies_);
  stage_times times;
  claims_table claims;
  dump_context context{
      context_.executor, context_.workers, context_.writers, context_.timers, store, claims,
      context_.log,      backend_.base()};
  context.times = &times;
  passphrase_book passphrases;
  connect_context const connect{context_.executor, context_.workers, context_.blocking,
                                context_.timers,   context_.log,     context_.prompt,
                                passphrases};
  auto targets = make_targets();
  silent_observer silent;
  auto const image_bytes = images_.image_bytes() * targets.size();
  phase_meter meter(context_.timers,
                    {.counters = {"read", "wire", "verified", "stored"},
                     .read =
                         [&] {
                           auto const s = sums_of(targets);
                           show(which, s.announced, image_bytes);
                           return std::vector<std::uint64_t>{s.announced, s.wire,
                                                             times.of(stage::verify).bytes,
                                                             times.of(stage::persist).bytes};
                         },
                     .activity = [&] { return sums_of(targets).one_is_dumping ? "" : "start"; }});
  co_await meter.run(dump_fleet(context, make_host_connector(connect), targets, fleet(), silent));
  std::vector<std::string> manifests;
  for (auto const& t : targets) {
    if (t.failure) std::rethrow_exception(t.failure);
    manifests.push_back(t.manifest.value());
  }
  manifests_.push_back(std::move(manifests));
  backend_.close();

  auto done = sums_of(targets).counts;
  done.phase = which;
  meter.report(done);
  take_latencies(done);
  explain_dump(done, meter, times);
  if (backend_.remembers() && images_.expected()) {
    auto const difference = count_difference(*images_.expected(), done);
    if (!difference.empty()) throw wrong_counts(backend_.name(), difference);
    done.as_made = true;
  }
  images_.dumped();
  co_return done;
}

std::string count_difference(bench_images::expectation const& made, phase_report const& found) {
  auto const reused = made.data - made.fresh;
  if (found.blocks_zero == made.zeros && found.blocks_stored == made.fresh &&
      found.blocks_reused == reused) {
    return "";
  }
  return format("{}: {} zero, {} stored and {} reused blocks instead of {}, {} and {}",
                name_of(found.phase), found.blocks_zero, found.blocks_stored, found.blocks_reused,
                made.zeros, made.fresh, reused);
}

void store_run::explain_dump(phase_report& done, phase_meter const& meter,
                             stage_times const& times) const {
  auto const at = meter.activities().find("start");
  auto const starting =
      at == meter.activities().end() ? std::chrono::duration<double>() : at->second;
  auto const workers = context_.workers.threads(), writers = context_.writers.threads();
  auto const images = static_cast<unsigned>(images_.paths().size());
  auto seal = stage_of(times, stage::seal, "seal", "making blocks and manifests durable",
                       std::min(images, writers));
  seal.alone = images == 1;
  done.stages = {
      {.name = "start", .does = "starting the agent", .busy = starting, .alone = true},
      {.name = "agent",
       .does = "reading, hashing and compressing (agent)",
       .threads = cores_,
       .busy = done.cpu_agent,
       .cpu = done.cpu_agent},
      {.name = "receive",
       .does = "receiving and answering (event loop)",
       .busy = meter.loop_cpu(),
       .cpu = meter.loop_cpu()},
      stage_of(times, stage::look_up, "look up", "asking the index and writing manifests", writers),
      stage_of(times, stage::verify, "verify", "decompressing and hashing (verify)", workers),
      stage_of(times, stage::persist, "persist", "putting blocks into the store (persist)",
               writers),
      std::move(seal)};
  done.slowest =
      find_bottleneck({.wall = done.time,
                       .cores = cores_,
                       .cpu = done.cpu_server + done.cpu_agent,
                       .others = done.cpu_others,
                       .stages = done.stages,
                       .waited_for_agent = times.of(stage::wait_for_agent).busy / images});
}

// ---- Restore ------------------------------------------------------------------------------------

task<> store_run::restore_images(restore_context& context, restore_progress& progress) {
  for (auto const& path : manifests_.back()) {
    restore_progress one;
    manifest_reader manifest(backend_.base() + "/" + path, context.store);
    discarding_disk output(manifest.header().geometry.image_bytes);
    co_await restore_to_disk(context, std::move(manifest), output, true, one);
    if (one.done_bytes != images_.image_bytes() ||
        output.written_bytes() + one.zero_bytes != one.done_bytes) {
      throw error(bench_errc::wrong_image, severity::corruption)
          .path(backend_.name())
          .cause(format("{} bytes of {}", one.done_bytes, images_.image_bytes()));
    }
    progress.done_bytes += one.done_bytes;
    progress.zero_bytes += one.zero_bytes;
  }
}

task<phase_report> store_run::restore() {
  latencies_ = std::make_unique<store_latencies>();
  measured_store store(backend_.open_for_restore(), *latencies_);
  stage_times times;
  restore_context context{context_.executor, context_.readers, context_.writers, store, &times};
  restore_progress progress;
  auto const image_bytes = images_.image_bytes() * images_.paths().size();
  phase_meter meter(context_.timers, {.counters = {"restored"}, .read = [&] {
                                        auto const bytes = times.of(stage::fetch).bytes;
                                        show(bench_phase::restore, bytes, image_bytes);
                                        return std::vector<std::uint64_t>{bytes};
                                      }});
  co_await meter.run(restore_images(context, progress));
  backend_.close();

  phase_report done{.phase = bench_phase::restore, .image_bytes = progress.done_bytes};
  meter.report(done);
  take_latencies(done);
  done.stages = {
      {.name = "receive",
       .does = "handing out the work (event loop)",
       .busy = meter.loop_cpu(),
       .cpu = meter.loop_cpu()},
      stage_of(times, stage::plan, "plan", "reading the manifest", 1),
      stage_of(times, stage::fetch, "fetch", "reading, decompressing and hashing blocks (fetch)",
               context_.readers.threads())};
  done.slowest = find_bottleneck({.wall = done.time,
                                  .cores = cores_,
                                  .cpu = done.cpu_server,
                                  .others = done.cpu_others,
                                  .stages = done.stages,
                                  .waited_for_agent = {}});
  co_return done;
}

// ---- What looks after a store -------------------------------------------------------------------

phase_view store_run::view_of(bench_phase which, work_monitor& monitor) const {
  // Of frames; each piece of the work counts anew.
  return {.counters = {"read from the store"},
          .read =
              [this, which, &monitor, most = std::uint64_t{0}]() mutable {
                most = std::max<std::uint64_t>(most, monitor.bytes_done);
                show(which, monitor.bytes_done, monitor.bytes_total);
                return std::vector<std::uint64_t>{most};
              },
          .activity = [&monitor] { return std::string(monitor.phase); },
          .stop = [&monitor] { monitor.stop = true; }};
}

void store_run::explain_work(phase_report& done, phase_meter const& meter) const {
  for (auto const& [what, time] : meter.activities()) {
    done.stages.push_back({.name = what,
                           .does = what,
                           .threads = 0,
                           .busy = time,
                           .cpu = done.cpu_server * (time / done.time)});
  }
  done.slowest = find_bottleneck({.wall = done.time,
                                  .cores = cores_,
                                  .cpu = done.cpu_server,
                                  .others = done.cpu_others,
                                  .stages = done.stages,
                                  .waited_for_agent = {}});
}

namespace {

task<> on_thread(worker_pool& pool, std::function<void()> work) { co_await offload(pool, work); }

}  // namespace

task<phase_report> store_run::verify() {
  work_monitor monitor;
  verify_report found;
  phase_meter meter(context_.timers, view_of(bench_phase::verify, monitor));
  co_await meter.run(on_thread(context_.blocking, [&] {
    found = verify_store(backend_.base(),
                         {.threads = context_.workers.threads(), .log = &context_.log}, monitor);
  }));
  if (found.stopped) throw_interrupted();
  if (!found.all_well()) {
    throw error(bench_errc::wrong_image, severity::corruption)
        .path(backend_.name())
        .cause(format("verify found {} damaged blocks", found.damages_total));
  }
  phase_report done{.phase = bench_phase::verify, .image_bytes = found.content_bytes};
  done.blocks_seen = found.blocks;
  meter.report(done);
  explain_work(done, meter);
  co_return done;
}

task<phase_report> store_run::collect() {
  auto const files = make_posix_file_system(backend_.base());
  for (std::size_t i = 0; i + 1 < manifests_.size(); ++i) {
    for (auto const& path : manifests_[i]) static_cast<void>(remove_manifest(*files, path));
  }
  work_monitor monitor;
  gc_report found;
  auto view = view_of(bench_phase::collect, monitor);
  view.counters.clear();
  view.read = [this] {
    show(bench_phase::collect, 0, 0);
    return std::vector<std::uint64_t>();
  };
  phase_meter meter(context_.timers, std::move(view));
  co_await meter.run(on_thread(context_.blocking, [&] {
    gc_options options;
    options.threads = context_.workers.threads();
    options.log = &context_.log;
    found = collect_garbage(backend_.base(), options, monitor);
  }));
  if (found.stopped) throw_interrupted();
  phase_report done{.phase = bench_phase::collect};
  done.blocks_seen = found.freed.blocks;
  meter.report(done);
  explain_work(done, meter);
  if (images_.expected()) {
    // And the lists of the first dump, but for those that nothing changed in.
    auto const abandoned = images_.expected()->abandoned;
    auto const lists = images_.paths().size() * backend_.lists_of(images_.geometry().blocks());
    if (found.freed.blocks < abandoned || found.freed.blocks > abandoned + lists) {
      throw wrong_counts(backend_.name(), format("gc deleted {} blocks instead of {}",
                                                 found.freed.blocks, abandoned));
    }
    done.as_made = true;
  }
  co_return done;
}

// ---- All of it ----------------------------------------------------------------------------------

void store_run::tell(phase_report done) {
  done.stored_bytes = backend_.stats().stored_bytes;
  if (auto const usage = backend_.disk_usage()) {
    done.files = usage->files;
    done.disk_bytes = usage->bytes;
  }
  report_.phases.push_back(std::move(done));
  observer_.on_phase(report_, report_.phases.back());
}

void store_run::take_latencies(phase_report& into) {
  for (std::size_t i = 0; i < store_call_count; ++i) {
    into.calls[i] = latencies_of(latencies_->calls[i]);
  }
}

task<store_report> store_run::all_phases() {
  tell(co_await dump(bench_phase::first));
  tell(co_await dump(bench_phase::unchanged));
  bench_progress changing;
  co_await in_background(context_, changing, [&] { images_.change(changed_percent, changing); });
  tell(co_await dump(bench_phase::changed));
  if (backend_.gives_back()) tell(co_await restore());
  if (backend_.has_upkeep()) {
    tell(co_await verify());
    tell(co_await collect());
  }
  co_return std::move(report_);
}

task<> in_background(bench_context& context, bench_progress& progress, std::function<void()> work) {
  phase_meter meter(context.timers, {.counters = {},
                                     .read = [] { return std::vector<std::uint64_t>(); },
                                     .stop = [&progress] { progress.stop = true; }});
  co_await meter.run(on_thread(context.blocking, std::move(work)));
  if (progress.stop) throw_interrupted();
}

}  // namespace diskdump
