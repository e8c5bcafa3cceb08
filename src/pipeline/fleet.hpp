// A dump of many targets on one event loop: one connection per host, at most `targets_active_max`
// targets at work, one target's failure never stopping another.
#pragma once

#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "async/retry.hpp"
#include "pipeline/dump.hpp"
#include "transport/connect.hpp"
#include "transport/deploy.hpp"

namespace diskdump {

// One path on one host, what is to be done with it, and what became of it.
struct fleet_target {
  std::string label;  // for people: HOST:PATH, or the image that is imported
  std::string host;   // "localhost" without a user is this machine, without SSH
  ssh_options ssh;
  bool sudo = false;
  std::string pre, post;  // shell commands around the dump, empty: none
  std::string path;
  std::string manifest_name;
  std::string source;                      // as the manifest says it; empty: HOST:PATH
  std::optional<clock_source::wall> date;  // of the image; none: now

  target_progress progress;
  std::optional<std::string> manifest;  // published, relative to DIR
  std::exception_ptr failure;
  bool interrupted = false;  // abandoned by cancellation
  // Of the image, for a later run that resumes: it need not ask for them again.
  std::uint64_t resumable_bytes = 0;
};

// The login on its machine, as far as it was said: targets with the same one share a connection.
[[nodiscard]] std::string login_name(fleet_target const& target);

struct fleet_options {
  std::size_t targets_active_max = 0;
  std::uint32_t block_bytes = 0;
  std::uint32_t batch_blocks = 0;
  codec_policy codec = codec_policy::lz4;
  bool codec_automatic = false;  // begin with it, then what the link asks for
  agent_choice agent = agent_choice::automatic;
  agent_images agents;
  bool skip_bad_sectors = false;
  std::chrono::steady_clock::duration silence_max = limits::silence_timeout_max;
  retry_policy retries{.attempts_max = limits::retries_default + 1,
                       .delay_first = limits::retry_delay_first,
                       .delay_max = limits::retry_delay_max,
                       .factor = limits::retry_delay_factor,
                       .jitter = 0.5};
  random_source chance = [] { return 0.5; };  // of the pauses between attempts
  bool keep_interrupted = true;               // what a later run with `resume` can go on with
  bool resume = false;                        // go on with what an earlier run left
  transfer_rates rates;                       // those of all targets together are the context's
  bool low_priority = false;
  std::uint16_t agent_threads_max = 0;  // 0: all cores
  sudo_password* sudo = nullptr;        // for targets with sudo; none: it must want none
};

// An attempt that failed, and that another one follows.
struct fleet_retry {
  std::exception_ptr failure;
  unsigned attempt = 0;               // that failed, from 1
  unsigned attempts_max = 0;          // the first one counts
  std::chrono::milliseconds pause{};  // until the next one
  std::uint64_t continues_at_bytes = 0;
};

// Told what becomes of each target, on the event loop's thread.
class fleet_observer {
 public:
  virtual ~fleet_observer() = default;
  virtual void on_start(fleet_target const& target) = 0;
  // Between on_start() and on_end(), any number of times.
  virtual void on_retry(fleet_target const& target, fleet_retry const& retry) = 0;
  virtual void on_end(fleet_target const& target) = 0;
  // A line that `command` ("pre" or "post") of the target printed, printable.
  virtual void on_output(fleet_target const& /*target*/, std::string_view /*command*/,
                         std::string_view /*line*/) {}
};

// How a fleet reaches the machine of a target: by SSH or without in the program, through a
// simulated network in a test. Completes and fails as connect_ssh() with that place, which outlives
// the call.
using host_connector =
    std::function<task<std::unique_ptr<remote_host>>(fleet_target const&, login_place&)>;

// SSH, or no network at all where the target is this machine. `context` is copied.
[[nodiscard]] host_connector make_host_connector(connect_context context);

// Completes when every target has its manifest or its failure; never throws for a target's failure.
// Cancellation abandons the running targets, marks all unfinished ones as interrupted and then
// completes normally. `targets` outlive it and do not move.
[[nodiscard]] task<> dump_fleet(dump_context& context, host_connector connect,
                                std::vector<fleet_target>& targets, fleet_options options,
                                fleet_observer& observer);

}  // namespace diskdump
