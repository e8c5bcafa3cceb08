// The process around a dump: descriptors, signals, limits, priority. Called from the one thread
// that there is at that time.
#pragma once

#include <chrono>

namespace diskdump {

struct serve_descriptors {
  int input = -1;   // what the server says
  int output = -1;  // frames, and nothing but frames
};

// Moves stdin and stdout to private descriptors, so that whatever is printed to stdout comes out on
// stderr; widens the pipes; ignores SIGPIPE, and lets SIGHUP and SIGTERM end the process also where
// they came in ignored; no core files, which would hold the source's content; one heap for all
// threads. Throws `error`.
[[nodiscard]] serve_descriptors take_over_process();

// Idle I/O class and the lowest CPU priority for this thread and those it starts later. What is
// refused costs politeness only.
void lower_priority() noexcept;

// Cores that this process may run on.
[[nodiscard]] unsigned available_cores() noexcept;

// Ends the process after `delay`, whatever it does then.
void die_after(std::chrono::seconds delay) noexcept;

}  // namespace diskdump
