// Stage transmit. Takes: what the session has to say, whenever another stage produced some. Gives:
// it to the agent, one write at a time.
#include "pipeline/target_run.hpp"

#include "async/async_errc.hpp"
#include "async/watcher.hpp"
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

// Ends the stage where what is left to say after the end takes too long: an agent that has said END
// needs none of it, and one that reads nothing any more would be waited for without end. Ends only
// by what it throws.
task<> wait_after_closing(target_run& run, bool& given_up) {
  while (!run.closing) co_await run.announced_more.wait();
  co_await run.context.timers.sleep(limits::close_wait_max);
  given_up = true;
  throw error(async_errc::timed_out, severity::transient);
}

task<> transmit_to_the_end(target_run& run) {
  bool given_up = false;
  try {
    co_await with_watcher(transmit_until_closing(run), wait_after_closing(run, given_up));
  } catch (...) {
    if (!given_up) throw;
  }
}

}  // namespace

// An agent that gives up says why and goes away, and what we were writing meanwhile fails. What it
// said lies there to be read: that is the reason, and it decides whether another attempt is worth
// making.
task<> transmit_stage(target_run& run) {
  std::exception_ptr failure;
  try {
    co_await transmit_to_the_end(run);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) co_return;
  // Cancelled: throws at once.
  co_await run.context.timers.sleep(limits::last_words_wait_max);
  std::rethrow_exception(failure);
}

}  // namespace diskdump
