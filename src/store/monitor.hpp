// How a long blocking call (gc, verify, reindex) tells how far it is and is told to stop. Written
// by its threads, read by a progress display; all members from any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace diskdump {

struct work_monitor {
  std::atomic<char const*> phase{""};  // "reading manifests", …
  std::atomic<std::uint64_t> done{0};  // of `total`, in the phase's unit
  std::atomic<std::uint64_t> total{0};
  std::atomic<std::uint64_t> bytes_done{0};  // where the phase reads blocks
  std::atomic<std::uint64_t> bytes_total{0};
  // The call ends at the next safe point and says in its report that it was stopped.
  std::atomic<bool> stop{false};

  void enter(char const* name, std::uint64_t units = 0, std::uint64_t bytes = 0) {
    done = 0;
    total = units;
    bytes_done = 0;
    bytes_total = bytes;
    phase = name;
  }
};

}  // namespace diskdump
