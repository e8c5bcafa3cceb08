#include <cstdio>
#include <cstdlib>

#include "cli/commands.hpp"
#include "cli/json_events.hpp"

namespace diskdump {

exit_code run_verb(global_options const&, help_arguments const& arguments) {
  std::fputs(arguments.text.c_str(), stdout);
  return exit_code::ok;
}

}  // namespace diskdump

int main(int argc, char** argv) {
  using namespace diskdump;
  command what;
  try {
    what = parse_command_line(std::vector<std::string>(argv + 1, argv + argc));
  } catch (usage_error const& e) {
    report_error(std::string(e.what()) + "\ndiskdump: see diskdump --help");
    return static_cast<int>(exit_code::usage);
  }
  try {
    return static_cast<int>(
        std::visit([&](auto& arguments) { return run_verb(what.global, arguments); }, what.verb));
  } catch (usage_error const& e) {
    report_error(e.what());
    return static_cast<int>(exit_code::usage);
  } catch (std::exception const& e) {
    report_error(e.what());
    if (what.global.json) json_error_event(e.what());
    return static_cast<int>(exit_code::failed);
  }
}
