#include "cli/options_load.hpp"

#include <algorithm>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/values.hpp"

namespace diskdump {

namespace {

std::uint64_t rate_of(std::string const& option, std::optional<std::string> const& text) {
  if (!text) return 0;
  auto const rate = parse_size(option, *text);
  if (rate == 0) throw usage_error(option + ": a rate of 0 would never end");
  return rate;
}

// At a lower rate a target would be silent for so long that it is taken for dead.
void check_rate(std::string_view option, std::uint64_t rate, std::uint64_t targets,
                std::uint32_t block_bytes, std::uint64_t seconds) {
  auto const least = (block_bytes + seconds - 1) / seconds * targets;
  if (rate == 0 || rate >= least) return;
  auto const shared =
      targets == 1 ? std::string() : format(", for {} targets at the same time (-j)", targets);
  throw usage_error(format("{}: {} is less than {} bytes/s, which blocks of {} bytes need{}",
                           option, rate, least, block_bytes, shared));
}

}  // namespace

void declare_load(option_set& options, raw_load& raw) {
  options.text("--read-limit", raw.read_limit, "RATE",
               "bytes/s read from each target's disk: 500K, 20M, 1G");
  options.text("--read-limit-total", raw.read_limit_total, "RATE",
               "the same for all together, shared by those at work");
  options.text("--wire-limit", raw.wire_limit, "RATE",
               "bytes/s that each target's connection carries");
  options.text("--wire-limit-total", raw.wire_limit_total, "RATE", "the same for all together");
  options.flag("--nice", raw.nice, "the agents run with idle I/O priority and the lowest for CPU");
  options.number("--agent-threads", raw.agent_threads, 1, limits::worker_threads_max,
                 "cores that each agent hashes and compresses on (default: all)");
}

void finish_load(raw_load const& raw, dump_arguments& arguments) {
  auto& rates = arguments.rates;
  rates.read_per_target = rate_of("--read-limit", raw.read_limit);
  rates.read_total = rate_of("--read-limit-total", raw.read_limit_total);
  rates.wire_per_target = rate_of("--wire-limit", raw.wire_limit);
  rates.wire_total = rate_of("--wire-limit-total", raw.wire_limit_total);
  arguments.low_priority = raw.nice;
  arguments.agent_threads_max = static_cast<std::uint16_t>(raw.agent_threads.value_or(0));
}

void check_load(dump_arguments const& arguments, std::uint32_t block_bytes) {
  auto const& rates = arguments.rates;
  auto const together = std::min(arguments.targets_active_max, arguments.targets.size());
  auto const patience = std::chrono::duration_cast<std::chrono::seconds>(arguments.silence_max);
  auto const time = static_cast<std::uint64_t>(
      std::clamp<std::int64_t>(patience.count() / 2, 1, limits::rate_block_time_max.count()));
  check_rate("--read-limit", rates.read_per_target, 1, block_bytes, time);
  check_rate("--wire-limit", rates.wire_per_target, 1, block_bytes, time);
  check_rate("--read-limit-total", rates.read_total, together, block_bytes, time);
  check_rate("--wire-limit-total", rates.wire_total, together, block_bytes, time);
}

}  // namespace diskdump
