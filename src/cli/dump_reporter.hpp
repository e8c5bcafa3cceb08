// Tells people and programs how a dump goes: JSON events; a live view on a terminal; else lines.
// Event loop's thread.
#pragma once

#include <memory>

#include "async/timer.hpp"
#include "cli/fleet_watch.hpp"
#include "cli/options.hpp"
#include "cli/terminal.hpp"

namespace diskdump {

class dump_reporter final : public fleet_observer {
 public:
  // All of them outlive it. `live` is nullptr without a terminal.
  dump_reporter(global_options const& global, std::string_view verb,
                std::vector<fleet_target> const& targets, timer_source& timers,
                terminal_lines* live);

  // Before the first target begins.
  void begin();
  void on_start(fleet_target const& target) override;
  void on_retry(fleet_target const& target, fleet_retry const& retry) override;
  void on_end(fleet_target const& target) override;
  void on_output(fleet_target const& target, std::string_view command,
                 std::string_view line) override;
  // After the last target ended.
  void finish(std::uint32_t block_bytes);

  // Shows how far it is until cancelled.
  [[nodiscard]] task<> show();

  [[nodiscard]] fleet_watch const& watch() const noexcept { return watch_; }

 private:
  void tell(std::string const& text);    // on stderr, for a person
  void result(std::string const& text);  // on stdout
  void tell_resumable(fleet_target const& target);
  [[nodiscard]] bool is_quiet() const noexcept;  // nothing but errors is for a person's eyes

  global_options const& global_;
  std::string_view verb_;
  std::vector<fleet_target> const& targets_;
  timer_source& timers_;
  terminal_lines* live_;
  bool live_results_;  // stdout is a terminal, too: results go through the live view
  fleet_watch watch_;
};

}  // namespace diskdump
