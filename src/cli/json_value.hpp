// For the files that make events of --json, alone: it includes the JSON library, which takes long
// to compile.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/json_events.hpp"

namespace diskdump {

// Fields keep their order.
using json = nlohmann::ordered_json;

// Text that is no UTF-8 is written with replacement characters.
inline void emit(json const& event) {
  json_line(event.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace diskdump
