// Stage transmit. Takes: what the session has to say, whenever another stage produced some. Gives:
// it to the agent, one write at a time.
#include "pipeline/target_run.hpp"

namespace diskdump {

task<> transmit_stage(target_run& run) {
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

}  // namespace diskdump
