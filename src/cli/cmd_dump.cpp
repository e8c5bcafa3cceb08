#include <filesystem>
#include <random>

#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/carried_agents.hpp"
#include "cli/commands.hpp"
#include "cli/dump_reporter.hpp"
#include "cli/metrics.hpp"
#include "cli/options_load.hpp"
#include "cli/screen_text.hpp"
#include "pipeline/manifest_room.hpp"
#include "store/lease.hpp"
#include "transport/passphrase_book.hpp"

namespace diskdump {

namespace {

// Pauses between attempts differ from target to target, or all would come back at the same moment.
std::mt19937& random_bits() {
  static std::mt19937 bits{std::random_device{}()};
  return bits;
}

fleet_options fleet_of(dump_arguments const& o, std::uint32_t block_bytes) {
  return {.targets_active_max = o.targets_active_max,
          .block_bytes = block_bytes,
          .batch_blocks = o.batch_blocks,
          .codec = o.codec,
          .codec_automatic = o.codec_automatic,
          .agent = o.agent,
          .agents = carried_agents(),
          .skip_bad_sectors = o.skip_bad_sectors,
          .silence_max = o.silence_max,
          .retries = {.attempts_max = o.retries + 1,
                      .delay_first = limits::retry_delay_first,
                      .delay_max = limits::retry_delay_max,
                      .factor = limits::retry_delay_factor,
                      .jitter = 0.5},
          .chance = [] { return std::uniform_real_distribution<>()(random_bits()); },
          .keep_interrupted = o.keep_interrupted,
          .resume = o.resume,
          .rates = o.rates,
          .low_priority = o.low_priority,
          .agent_threads_max = o.agent_threads_max};
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
  co_await dump_fleet(context, make_host_connector(connect), targets, options, reporter);
  both.cancel();
}

// Asks the person once, before anything begins.
task<std::unique_ptr<sudo_password>> ask_for_sudo(runtime& process, secret_prompt& prompt) {
  std::atomic<bool> const wanted = true;
  auto answer = co_await offload(
      process.blocking, [&] { return prompt.ask("[sudo] password for the targets: ", wanted); });
  if (!answer) {
    throw error(transport_errc::bad_configuration, severity::permanent)
        .cause("there is no terminal to ask for the password of sudo on")
        .remedy("allow sudo without one (NOPASSWD in sudoers), or log in as root");
  }
  co_return std::make_unique<sudo_password>(process.executor(), std::move(*answer));
}

task<exit_code> dump_with_display(runtime& process, dump_context& context,
                                  dump_arguments& arguments, fleet_options options,
                                  dump_reporter& reporter) {
  auto& targets = arguments.targets;
  // Who is told that it has started may interrupt it: from here on signals are heeded.
  reporter.begin();
  terminal_prompt prompt;
  std::unique_ptr<sudo_password> sudo;
  if (arguments.ask_sudo_password) sudo = co_await ask_for_sudo(process, prompt);
  options.sudo = sudo.get();
  passphrase_book passphrases;
  connect_context const connect{process.executor(), process.workers, process.blocking,
                                process.timers,     process.log,     prompt,
                                passphrases};
  try {
    co_await with_scope([&](scope& both) {
      both.spawn(reporter.show());
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

// What ended the run before a target had its turn has been said; nobody may read that it was done.
void fail_the_rest(std::vector<fleet_target>& targets, bool interrupted) {
  for (auto& t : targets) {
    if (t.failure || t.progress.state == target_state::done) continue;
    t.interrupted = interrupted;
    t.failure =
        std::make_exception_ptr(error(pipeline_errc::not_begun, severity::permanent).host(t.host));
  }
}

std::optional<std::uint64_t> bytes_free(std::string const& folder) {
  std::error_code unknown;
  auto const space = std::filesystem::space(folder, unknown);
  return unknown ? std::nullopt : std::optional<std::uint64_t>(space.available);
}

exit_code dump_to(runtime& process, global_options const& global, dump_arguments& arguments,
                  dump_reporter& reporter) {
  auto const block_bytes = arguments.block_bytes.value_or(limits::block_bytes_default);
  auto const opened = open_leased_store(global.base,
                                        {.level = arguments.level,
                                         .create_block_bytes = block_bytes,
                                         .create_format = usual_store_format(block_bytes)},
                                        lease_text(arguments.targets));
  auto const& store = opened.store;
  auto const options = fleet_of(arguments, block_bytes_for(arguments, *store, process.log));
  check_load(arguments, options.block_bytes);
  claims_table claims;
  dump_context context{process.executor(), process.workers, process.writers,
                       process.timers,     *store,          claims,
                       process.log,        global.base};
  rate_limiter receiving(process.timers, options.rates.wire_total);
  context.receiving = &receiving;
  // Where lines are written until a manifest gets its name.
  manifest_room manifests(process.executor(), process.writers,
                          [folder = global.base + "/.blockstore"] { return bytes_free(folder); });
  context.manifests = &manifests;
  std::optional<read_share> reading;
  if (options.rates.read_total > 0) context.reading = &reading.emplace(options.rates.read_total);
  auto const code = process.run(dump_with_display(process, context, arguments, options, reporter));
  fail_the_rest(arguments.targets, process.interrupted());
  reporter.finish(options.block_bytes);
  return code;
}

// Whether it was written; that it was not is said, and undoes nothing of the dump.
bool write_metrics(metrics_file const& file, std::vector<fleet_target> const& targets,
                   dump_reporter const& reporter, timer_source const& timers) {
  try {
    file.write(metrics_text(targets, reporter.watch(), timers.clock().wall_now()));
    return true;
  } catch (std::exception const& e) {
    report_error(format("warning: the dump has ended, but its metrics are not written: {}",
                        screen_text(e.what())));
    return false;
  }
}

}  // namespace

exit_code run_verb(global_options const& global, dump_arguments& arguments) {
  runtime process(global);
  std::optional<metrics_file> metrics;
  if (arguments.metrics) metrics.emplace(*arguments.metrics);
  terminal_lines lines;
  bool const live = terminal_lines::available() && !global.quiet && !global.json;
  if (live) process.show_line = lines.as_line_writer();
  dump_reporter reporter(global, arguments.verb, arguments.targets, process.timers,
                         live ? &lines : nullptr);
  auto const tell = [&] {
    return !metrics || write_metrics(*metrics, arguments.targets, reporter, process.timers);
  };
  auto code = exit_code::failed;
  try {
    code = dump_to(process, global, arguments, reporter);
  } catch (usage_error const&) {
    throw;
  } catch (...) {
    // A store that cannot be opened is a run that failed.
    static_cast<void>(tell());
    throw;
  }
  if (!tell() && code == exit_code::ok) code = exit_code::failed;
  return code;
}

}  // namespace diskdump
