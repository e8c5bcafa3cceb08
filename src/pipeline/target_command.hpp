// The commands of a person around the dump of a target: `--pre` makes the source fit to be read (a
// snapshot, a freeze), `--post` undoes it. Therefore post runs in every case in which pre was
// begun: the dump may have ended well or not, have been interrupted, or have lost its connection.
//
// All calls come from the event loop's thread.
#pragma once

#include "pipeline/fleet.hpp"

namespace diskdump {

// One target's commands, for all attempts to dump it together.
class target_commands {
 public:
  // All outlive it.
  target_commands(dump_context& context, fleet_target const& target, fleet_options const& options,
                  fleet_observer& observer);

  // To be called by each attempt that has reached the target's machine, before it dumps. The first
  // one runs pre, and completes when that has ended well, resuming on the executor; the others
  // complete at once. Throws command_failed (permanent: no further attempt) where pre does not end
  // well. Not cancellable while the command runs, which is bounded in time: what it does must be
  // over before post undoes it; the cancellation is thrown then.
  [[nodiscard]] task<> before(remote_host& machine);

  // Whether after() has something to do.
  [[nodiscard]] bool post_due() const noexcept { return begun_ && !target_.post.empty(); }

  // To be called once, after the last attempt. Runs post on `machine`, or, where that is null or
  // the connection is lost before the command has begun, through connections of its own. Completes
  // when post has ended well. Throws command_failed. Bounded in time; not cancellable.
  using connector = std::function<task<std::unique_ptr<remote_host>>(fleet_target const&)>;
  [[nodiscard]] task<> after(remote_host* machine, connector const& connect, bool dumped_well);

 private:
  enum class kind : std::uint8_t { pre, post };
  [[nodiscard]] task<> run_pre(remote_host& machine);
  [[nodiscard]] task<std::unique_ptr<stream>> open(remote_host& machine, std::string command,
                                                   sudo_password* password);
  [[nodiscard]] task<> run(remote_host& machine, kind which, std::string_view status, bool& begun);
  [[nodiscard]] std::string script(kind which, std::string const& mark,
                                   std::string_view status) const;

  dump_context& context_;
  fleet_target const& target_;
  fleet_options const& options_;
  fleet_observer& observer_;
  bool begun_ = false;
};

// `text` as one word of sh, whatever it holds.
[[nodiscard]] std::string shell_word(std::string_view text);

}  // namespace diskdump
