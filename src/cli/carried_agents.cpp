#include "cli/carried_agents.hpp"

#include <vector>

#include "agent/embedded.hpp"

namespace diskdump {

agent_images carried_agents() {
  static std::vector<agent_binary> const native = [] {
    std::vector<agent_binary> all;
    for (auto const& a : embedded_agents().native) all.push_back({a.machine, a.content, a.digest});
    return all;
  }();
  return {.native = native, .fallback_script = embedded_agents().fallback_script};
}

}  // namespace diskdump
