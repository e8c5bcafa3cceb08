// What a benchmark found, as values: for the table, the JSON events and the page.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/bottleneck.hpp"
#include "bench/histogram.hpp"
#include "bench/measured_store.hpp"
#include "bench/time_series.hpp"
#include "bench/workload.hpp"

namespace diskdump {

enum class bench_phase : std::uint8_t { first, unchanged, changed, restore, verify, collect };
inline constexpr std::size_t bench_phase_count = 6;
// For programs: "first", "unchanged", "changed", "restore", "verify", "gc".
[[nodiscard]] std::string_view name_of(bench_phase which) noexcept;

struct call_latencies {
  std::uint64_t count = 0;
  std::chrono::nanoseconds p50{}, p99{}, p999{}, max{}, total{};
  std::vector<latency_histogram::step> distribution;
};

struct phase_report {
  bench_phase phase = bench_phase::first;
  std::chrono::duration<double> time{};
  // What the rate is of: bytes of images that were dumped or restored, or of blocks that were
  // verified; none of gc.
  std::uint64_t image_bytes = 0;

  // Dumps.
  std::uint64_t blocks = 0, blocks_stored = 0, blocks_reused = 0, blocks_zero = 0;
  std::uint64_t wire_bytes = 0;
  // Whether stored, reused and zero are what the images were made of; none where nobody knows.
  std::optional<bool> as_made;
  // verify: blocks read. gc: blocks deleted.
  std::uint64_t blocks_seen = 0;

  std::chrono::duration<double> cpu_server{}, cpu_agent{};
  std::chrono::duration<double> cpu_others{};  // what other programs took meanwhile
  std::uint64_t memory_server_bytes = 0, memory_agent_bytes = 0;  // peaks
  std::uint64_t memory_before_bytes = 0;                          // of the server, at the beginning
  std::uint64_t stored_bytes = 0;                                 // of frames, in the store
  std::optional<std::uint64_t> files, disk_bytes;                 // at the end; on a disk

  std::array<call_latencies, store_call_count> calls;
  std::vector<stage_load> stages;
  bottleneck slowest;
  std::vector<std::string> counters;  // of the series, in its order
  time_series series;

  [[nodiscard]] std::optional<double> bytes_per_second() const;
  // CPU seconds for 10^9 bytes; none where no bytes are counted.
  [[nodiscard]] std::optional<double> cpu_per_gb(std::chrono::duration<double> cpu) const;
};

struct store_report {
  std::string name;  // as it was asked for: "pack:/tmp/b"; text from outside
  std::vector<phase_report> phases;
};

struct bench_report {
  workload_options work;
  std::uint32_t batch_blocks = 0;
  std::optional<std::string> source;  // that was copied; text from outside
  std::optional<double> saved_percent;
  std::uint64_t image_bytes = 0;  // of each image
  unsigned cores = 1;
  std::string version;  // of diskdump
  std::string date;     // when it began
  std::vector<store_report> stores;
};

}  // namespace diskdump
