// Talking with a command that deploy_script made: its stdin, and its report, at the same time.
#pragma once

#include <string>

#include "transport/deploy_script.hpp"
#include "transport/stream.hpp"

namespace diskdump {

// Gives a program its stdin (`whole`: and the end of it). One that ends without reading it all is
// no lost connection: what it says, or its end, tells why. Completes as stream::write().
[[nodiscard]] task<> feed(stream& to, byte_view input, bool whole);

// Completes when all is written that the program takes, and its report is read, resuming on the
// executor; false where stdout ended before the report did. Throws and is cancelled as stream's
// calls.
[[nodiscard]] task<bool> converse(stream& with, byte_view input, bool whole, report_parser& parser);

// Sixteen digits that nobody can guess.
[[nodiscard]] std::string random_hex();

}  // namespace diskdump
