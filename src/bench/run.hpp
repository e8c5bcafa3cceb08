// A benchmark of stores with the real pipeline: images are dumped by the agent of `localhost:`
// targets into each store in turn, dumped again, restored, verified and collected, as the verbs do
// it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "async/offload.hpp"
#include "async/timer.hpp"
#include "bench/images.hpp"
#include "bench/report.hpp"
#include "store/null_store.hpp"
#include "transport/connect.hpp"
#include "transport/deploy.hpp"

namespace diskdump {

enum class bench_backend_kind : std::uint8_t { loose, pack, memory, null };

struct bench_store_choice {
  std::string name;  // for people: "pack:/tmp/b"
  bench_backend_kind backend = bench_backend_kind::loose;
  std::string folder;  // of loose and pack
  null_memory null_keeps = null_memory::ids;
};

struct bench_options {
  std::vector<bench_store_choice> stores;  // at least one; folders that are not within each other
  std::optional<std::string> source;       // a file that is copied; none: `work` says what to make
  workload_options work;
  std::uint32_t batch_blocks = 0;
  std::string scratch;  // an image folder is made below it
  bool keep = false;    // what is in the stores at the end
  std::string version;
};

// What a benchmark works with; all outlive it.
struct bench_context {
  asio::any_io_executor executor;
  worker_pool& workers;   // CPU
  worker_pool& writers;   // blocking calls of the store
  worker_pool& readers;   // of a restore
  worker_pool& blocking;  // verify, gc, images
  timer_source& timers;
  log_sink& log;
  secret_prompt& prompt;  // nobody is asked anything
  agent_images agents;
};

// What is going on, for a display. On the event loop's thread.
struct bench_status {
  std::string store;  // empty: none yet
  std::string what;   // "making images", or a phase
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;  // 0: not known
};

class bench_observer {
 public:
  virtual ~bench_observer() = default;
  virtual void on_begin(bench_report const& so_far) = 0;  // without stores
  virtual void on_status(bench_status const& status) = 0;
  virtual void on_phase(store_report const& store, phase_report const& phase) = 0;
};

// Completes when every phase of every store has ended and all that was made for it is gone,
// resuming on the executor. Throws the first failure, after that, too. Cancellation ends it between
// two blocks, and takes everything away.
[[nodiscard]] task<bench_report> run_bench(bench_context& context, bench_options options,
                                           bench_observer& observer);

}  // namespace diskdump
