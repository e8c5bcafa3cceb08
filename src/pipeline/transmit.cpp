// Stage transmit. Takes: what the session has to say, whenever another stage produced some. Gives:
// it to the agent, one write at a time.
#include "pipeline/target_run.hpp"

namespace diskdump {

task<> transmit_stage(target_run& run) {
  for (;;) {
    auto const output = run.session.take_output();
    if (!output.empty()) {
      co_await run.io.write(output);
    } else if (run.closing) {
      co_return;
    } else {
      co_await run.output_ready.wait();
    }
  }
}

}  // namespace diskdump
