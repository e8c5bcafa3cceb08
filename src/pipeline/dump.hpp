// One target of a dump: from the started agent to the published manifest. See dump.cpp for the
// pipeline itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/offload.hpp"
#include "async/rate_limiter.hpp"
#include "async/timer.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "pipeline/claims.hpp"
#include "pipeline/read_share.hpp"
#include "pipeline/stage_times.hpp"
#include "store/block_store.hpp"
#include "transport/stream.hpp"
#include "wire/messages.hpp"

namespace diskdump {

class manifest_room;

enum class pipeline_errc {
  no_room_for_manifest = 1,  // the image needs more manifest than the store has space
  wrong_agent,               // HELLO of an agent that is not the one we carry
  output_exists,             // restore would replace a file
  output_too_small,          // restore to a device that is shorter than the image
  source_changed,            // between two attempts, or since the dump was interrupted
  cannot_resume,             // what the interrupted dump left does not fit what is asked for now
  command_failed,            // --pre or --post
  not_begun,                 // the run ended before the target had its turn
};
[[nodiscard]] std::string_view sentence(pipeline_errc e) noexcept;
[[nodiscard]] inline char const* module_name(pipeline_errc) noexcept { return "pipeline"; }

// Bytes per second; 0: no limit.
struct transfer_rates {
  std::uint64_t read_per_target = 0;
  std::uint64_t read_total = 0;
  std::uint64_t wire_per_target = 0;
  std::uint64_t wire_total = 0;
};

// What every target of one dump shares; outlives them all. Used from the event loop's thread; the
// store is called on `writers` only.
struct dump_context {
  asio::any_io_executor executor;
  worker_pool& workers;  // CPU: decompress, digest
  worker_pool& writers;  // blocking: store and manifest files
  timer_source& timers;
  block_store& store;
  claims_table& claims;
  log_sink& log;
  std::string base;                    // DIR, where manifests appear
  read_share* reading = nullptr;       // what the agents may read together; none: no limit
  rate_limiter* receiving = nullptr;   // what all connections may carry; none: no limit
  stage_times* times = nullptr;        // of a benchmark
  manifest_room* manifests = nullptr;  // what they leave of the disk; none: no bound
};

enum class target_state : std::uint8_t {
  queued,
  connecting,
  starting,
  dumping,
  retrying,  // between two attempts
  sealing,
  done,
  failed,
};

// Counters of one target, written by its stages and read by progress displays, all on the event
// loop's thread.
struct target_progress {
  target_state state = target_state::queued;
  std::uint64_t image_bytes = 0;
  std::uint64_t announced_bytes = 0;  // of image_bytes: read, digested and told
  std::uint64_t bytes_wire = 0;
  block_count blocks;         // of the image
  block_count blocks_stored;  // new in the store
  block_count blocks_reused;  // the store, or another target, had them
  block_count blocks_zero;
  block_count blocks_resumed;  // of an interrupted dump that this one continues
  unsigned attempts = 0;       // the first one counts
  std::uint64_t bad_bytes = 0;
  std::string agent_location;   // on the target, or "python3 on stdin"
  bool agent_uploaded = false;  // by this run
  std::string engine;           // how the agent reads: "uring", "posix", "python"
  clock_source::steady started{};
  clock_source::steady ended{};
};

struct target_plan {
  std::string host;           // for errors
  std::string path;           // on the target
  std::string source;         // of the manifest: where the image came from, "HOST:PATH"
  std::string manifest_name;  // passes check_manifest_name()
  // When the image was taken, where that was not just now.
  std::optional<clock_source::wall> date;
  start_message start;                       // path, block and batch size, policy
  bool codec_automatic = false;              // start.codec is what it begins with
  std::uint64_t wire_limit_bytes_per_s = 0;  // 0: none
  // Without a byte from a target that owes us some.
  std::chrono::steady_clock::duration silence_max = limits::silence_timeout_max;
  session_nonce nonce{};
  std::vector<block_id>
      expected_agents;  // HELLO's self digest is one of these; empty: any (Python)
};

// The bytes a transport may hold unread for a target of this plan; part of the target's batch.
[[nodiscard]] std::size_t channel_window_bytes(start_message const& start) noexcept;

class image_ledger;

// One attempt at one target, from where `ledger` stands. Completes with the path of the published
// manifest, relative to `context.base`, when every block is durable, resuming on the executor.
// Throws the first failure in time, with host and path; then nothing is published, and `ledger`
// says how far it came. `io` is the started agent's stream and is closed in every case.
// Cancellation ends the agent and throws operation_aborted. `ledger` and `progress` outlive it.
[[nodiscard]] task<std::string> dump_target(dump_context& context, target_plan plan,
                                            std::unique_ptr<stream> io, image_ledger& ledger,
                                            target_progress& progress);

}  // namespace diskdump
