#include <cstdio>
#include <cstdlib>

#include "cli/commands.hpp"
#include "cli/json_events.hpp"

namespace {

using namespace diskdump;

exit_code run_verb(command& what) {
  switch (what.which) {
    case command::verb::dump:
      return cmd_dump(what);
    case command::verb::restore:
      return cmd_restore(what);
    case command::verb::list:
      return cmd_list(what);
    case command::verb::help:
      std::fputs(what.help_text.c_str(), stdout);
      return exit_code::ok;
  }
  return exit_code::usage;
}

}  // namespace

int main(int argc, char** argv) {
  command what;
  try {
    what = parse_command_line(std::vector<std::string>(argv + 1, argv + argc));
  } catch (usage_error const& e) {
    report_error(std::string(e.what()) + "\ndiskdump: see diskdump --help");
    return static_cast<int>(exit_code::usage);
  }
  try {
    return static_cast<int>(run_verb(what));
  } catch (std::exception const& e) {
    report_error(e.what());
    if (what.global.json) json_error_event(e.what());
    return static_cast<int>(exit_code::failed);
  }
}
