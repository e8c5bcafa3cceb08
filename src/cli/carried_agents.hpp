// The agents that were built into this program, as the deployment takes them. Any thread.
#pragma once

#include "transport/deploy.hpp"

namespace diskdump {

[[nodiscard]] agent_images carried_agents();

}  // namespace diskdump
