// A dump of many targets on one event loop: one connection per host, at most `targets_active_max`
// targets at work, one target's failure never stopping another.
#pragma once

#include <exception>
#include <optional>
#include <string>
#include <vector>

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
  std::string path;
  std::string manifest_name;
  std::string source;                      // as the manifest says it; empty: HOST:PATH
  std::optional<clock_source::wall> date;  // of the image; none: now

  target_progress progress;
  std::optional<std::string> manifest;  // published, relative to DIR
  std::exception_ptr failure;
  bool interrupted = false;  // abandoned by cancellation
};

struct fleet_options {
  std::size_t targets_active_max = 0;
  std::uint32_t block_bytes = 0;
  std::uint32_t batch_blocks = 0;
  codec_policy codec = codec_policy::lz4;
  agent_choice agent = agent_choice::automatic;
  agent_images agents;
  bool skip_bad_sectors = false;
};

// Told of each target's start and end, on the event loop's thread.
class fleet_observer {
 public:
  virtual ~fleet_observer() = default;
  virtual void on_start(fleet_target const& target) = 0;
  virtual void on_end(fleet_target const& target) = 0;
};

// Completes when every target has its manifest or its failure; never throws for a target's failure.
// Cancellation abandons the running targets, marks all unfinished ones as interrupted and then
// completes normally. `targets` outlive it and do not move.
[[nodiscard]] task<> dump_fleet(dump_context& context, connect_context connect,
                                std::vector<fleet_target>& targets, fleet_options options,
                                fleet_observer& observer);

}  // namespace diskdump
