// Which stage of a phase held the others up, and how that shows. Pure.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace diskdump {

struct stage_load {
  std::string name;                      // "verify"
  std::string does;                      // "decompressing and hashing"
  unsigned threads = 1;                  // 0: of work that is not divided into threads
  std::chrono::duration<double> busy{};  // of all its threads
  std::chrono::duration<double> cpu{};   // of it, on a processor
  bool alone = false;                    // while it is at work, no other stage is

  [[nodiscard]] double share_of(std::chrono::duration<double> wall) const;
};

struct phase_load {
  std::chrono::duration<double> wall{};
  unsigned cores = 1;
  std::chrono::duration<double> cpu{};     // of server and agents
  std::chrono::duration<double> others{};  // of other programs
  std::vector<stage_load> stages;
  std::chrono::duration<double> waited_for_agent{};
};

struct bottleneck {
  std::string stage;
  std::string reason;  // a sentence
};

// By these rules, the first that holds:
// 1. A stage that works alone took 40 % of the time or more.
// 2. The cores were busy for 80 % or more: the stage that took most of their time.
// 3. A stage whose threads were busy for 60 % or more: the busiest.
// 4. The server waited for the agent for half of the time or more: the agent.
// 5. The busiest stage, with the remark that it was not busy all the time.
[[nodiscard]] bottleneck find_bottleneck(phase_load const& load);

}  // namespace diskdump
