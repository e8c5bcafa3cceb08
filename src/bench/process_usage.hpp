// What this process and its children took of the machine, as Linux counts it. Any thread, but for
// what is said of children.
#pragma once

#include <chrono>
#include <cstdint>

namespace diskdump {

struct cpu_usage {
  std::chrono::nanoseconds process{};   // all threads
  std::chrono::nanoseconds children{};  // that have ended
  std::chrono::nanoseconds thread{};    // the one that asks
  std::chrono::nanoseconds machine{};   // all that runs, to 10 ms; 0 where nobody says
};
[[nodiscard]] cpu_usage cpu_used();

// From here on memory_peak_bytes() counts anew; false where the kernel cannot do that, and it goes
// on counting from the beginning of the process. What malloc keeps for nothing is given back first.
bool restart_memory_peak();
[[nodiscard]] std::uint64_t memory_peak_bytes();
// What is in memory now.
[[nodiscard]] std::uint64_t memory_bytes();

// Of the children of the calling thread, the most that each had in memory so far, added up; 0 where
// the kernel does not say.
[[nodiscard]] std::uint64_t children_memory_peak_bytes();

}  // namespace diskdump
