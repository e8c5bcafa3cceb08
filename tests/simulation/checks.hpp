// What must be true of every world that has come to its end, whatever went wrong in it.
#pragma once

#include <string>
#include <vector>

#include "world.hpp"

namespace diskdump::simulation {

// One sentence for each thing that is not as it must be.
[[nodiscard]] std::vector<std::string> check_world(world& w);

}  // namespace diskdump::simulation
