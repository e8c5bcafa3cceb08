// What keeps the store in order.
#include "cli/verb_syntax.hpp"

namespace diskdump {

std::vector<verb_syntax> upkeep_verbs() { return {}; }

}  // namespace diskdump
