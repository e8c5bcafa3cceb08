#include <cstdio>

#include "agent/embedded.hpp"
#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/commands.hpp"
#include "cli/json_events.hpp"
#include "cli/progress.hpp"
#include "store/lease.hpp"

namespace diskdump {

namespace {

// Says what becomes of each target: JSON lines, or text around the live view.
class dump_reporter final : public fleet_observer {
 public:
  dump_reporter(global_options const& options, terminal_lines* live)
      : options_(options), live_(live) {}

  void on_start(fleet_target const& target) override {
    if (options_.json || options_.quiet || live_ != nullptr) return;
    std::printf("%s: started\n", target.label.c_str());
    std::fflush(stdout);
  }

  void on_end(fleet_target const& target) override {
    if (live_ != nullptr) live_->clear();
    if (options_.json) json_target_event(target);
    if (target.interrupted) {
      if (!options_.quiet) report_error(target.label + ": interrupted, nothing published");
    } else if (target.failure) {
      report_error(describe(target.failure));
    } else if (!options_.json && !options_.quiet) {
      std::printf("%s\n", outcome_text(target).c_str());
      std::fflush(stdout);
    }
  }

 private:
  global_options const& options_;
  terminal_lines* live_;
};

// The agents that were built into this program, as the deployment takes them.
agent_images carried_agents() {
  static std::vector<agent_binary> const native = [] {
    std::vector<agent_binary> all;
    for (auto const& a : embedded_agents().native) all.push_back({a.machine, a.content, a.digest});
    return all;
  }();
  return {.native = native, .fallback_script = embedded_agents().fallback_script};
}

fleet_options fleet_of(dump_arguments const& o, std::uint32_t block_bytes) {
  return {.targets_active_max = o.targets_active_max,
          .block_bytes = block_bytes,
          .batch_blocks = o.batch_blocks,
          .codec = o.codec,
          .agent = o.agent,
          .agents = carried_agents(),
          .skip_bad_sectors = o.skip_bad_sectors};
}

std::uint32_t block_bytes_for(dump_arguments const& o, block_store const& store, log_sink& log) {
  auto const of_store = store.properties().block_bytes;
  auto const wanted = o.block_bytes.value_or(of_store);
  if (wanted != of_store) {
    log.warning(
        format("this store was made with blocks of {} bytes; images with blocks of {} share "
               "nothing with what is in it",
               of_store, wanted));
  }
  auto const batch_bytes = std::uint64_t{wanted} * o.batch_blocks;
  if (batch_bytes > limits::batch_bytes_max) {
    throw usage_error(format("--batch-size: {} blocks of {} bytes are more than {} bytes",
                             o.batch_blocks, wanted, limits::batch_bytes_max));
  }
  return wanted;
}

// Ends the display when the dump has ended.
task<> dump_all(dump_context& context, connect_context connect, std::vector<fleet_target>& targets,
                fleet_options options, dump_reporter& reporter, scope& both) {
  co_await dump_fleet(context, connect, targets, options, reporter);
  both.cancel();
}

task<exit_code> dump_with_display(runtime& process, dump_context& context,
                                  std::vector<fleet_target>& targets, fleet_options options,
                                  dump_reporter& reporter, terminal_lines* live) {
  terminal_prompt prompt;
  connect_context const connect{process.executor(), process.workers, process.blocking,
                                process.timers,     process.log,     prompt};
  try {
    co_await with_scope([&](scope& both) {
      if (live != nullptr) both.spawn(show_fleet(process.timers, targets, *live));
      both.spawn(dump_all(context, connect, targets, options, reporter, both));
    });
  } catch (...) {
    // The end of the display is not a failure.
    if (!is_consequence(std::current_exception())) throw;
  }
  for (auto const& t : targets) {
    if (t.failure) co_return exit_code::failed;
  }
  co_return exit_code::ok;
}

std::string lease_text(std::vector<fleet_target> const& targets) {
  auto text = "dump of " + targets.front().label;
  if (targets.size() > 1) text += format(" and {} more", targets.size() - 1);
  return printable(text);
}

void summarize(global_options const& global, std::vector<fleet_target> const& targets,
               double seconds) {
  if (global.json) {
    json_dump_summary(targets, seconds);
  } else if (targets.size() > 1 && !global.quiet) {
    std::size_t failed = 0;
    for (auto const& t : targets) failed += t.failure ? 1 : 0;
    std::printf("%s\n", format("{} targets: {} done, {} failed", targets.size(),
                               targets.size() - failed, failed)
                            .c_str());
  }
}

}  // namespace

exit_code run_verb(global_options const& global, dump_arguments& arguments) {
  runtime process(global);
  auto const store = open_store(
      global.base,
      {.level = arguments.level,
       .create_block_bytes = arguments.block_bytes.value_or(limits::block_bytes_default)});
  dump_lease const lease(global.base, lease_text(arguments.targets));
  auto const options = fleet_of(arguments, block_bytes_for(arguments, *store, process.log));

  terminal_lines lines;
  bool const show = terminal_lines::available() && !global.quiet && !global.json;
  auto* const live = show ? &lines : nullptr;
  process.before_line = [&lines] { lines.clear(); };
  dump_reporter reporter(global, live);
  claims_table claims;
  dump_context context{process.executor(), process.workers, process.writers,
                       process.timers,     *store,          claims,
                       process.log,        global.base};

  auto const started = process.timers.clock().now();
  auto const code =
      process.run(dump_with_display(process, context, arguments.targets, options, reporter, live));
  lines.clear();
  summarize(global, arguments.targets,
            std::chrono::duration<double>(process.timers.clock().now() - started).count());
  return code;
}

}  // namespace diskdump
