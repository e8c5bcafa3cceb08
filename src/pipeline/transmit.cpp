// Stage transmit. Takes: what the session has to say, whenever another stage produced some. Gives:
// it to the agent, one write at a time.
#include "pipeline/target_run.hpp"

#include "base/limits.hpp"

namespace diskdump {

namespace {

task<> transmit_until_closing(target_run& run) {
  for (;;) {
    auto const output = run.session.take_output();
    if (!output.empty()) {
      // Left standing by a write that is cancelled or fails: whatever came next would be read as
      // the rest of a frame.
      run.within_frame = true;
      co_await run.io.write(output);
      run.within_frame = false;
    } else if (run.closing) {
      co_return;
    } else {
      co_await run.output_ready.wait();
    }
  }
}

}  // namespace

// An agent that gives up says why and goes away, and what we were writing meanwhile fails. What it
// said lies there to be read: that is the reason, and it decides whether another attempt is worth
// making.
task<> transmit_stage(target_run& run) {
  std::exception_ptr failure;
  try {
    co_await transmit_until_closing(run);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) co_return;
  // Cancelled: throws at once.
  co_await run.context.timers.sleep(limits::last_words_wait_max);
  std::rethrow_exception(failure);
}

}  // namespace diskdump
