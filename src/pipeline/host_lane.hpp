// One machine of a fleet: its targets take turns on one SSH connection, which is made when the
// first of them gets its turn, and again when it was lost. Internal to src/pipeline; on the event
// loop's thread.
#pragma once

#include <memory>
#include <vector>

#include "async/byte_budget.hpp"
#include "async/wait_list.hpp"
#include "pipeline/fleet.hpp"
#include "pipeline/image_ledger.hpp"
#include "pipeline/target_command.hpp"

namespace diskdump {

// What the targets of one fleet share beside the dump's own context.
struct fleet {
  dump_context& context;
  host_connector connect;
  fleet_options options;
  fleet_observer& observer;
  byte_budget active;      // one unit per target at work
  byte_budget connecting;  // one unit per connection that is being made
  byte_budget asking;      // one unit per connection for which a person is asked, or was
};

class host_lane {
 public:
  // The targets outlive it.
  host_lane(fleet& shared, std::vector<fleet_target*> targets);

  // Completes when each target has its manifest or its failure. Never throws for a target's
  // failure. Cancelled: they are abandoned.
  task<> run();

 private:
  // A connection, and the dumps that use it: the last one to go ends it.
  struct connection {
    std::unique_ptr<remote_host> host;
    bool suspect = false;  // a dump over it broke off: the next attempt makes another
  };

  // What a target at work holds. From its pre command to its post command, but for the pause
  // between two attempts: what pre began does not wait for targets that have not begun.
  struct seat {
    byte_lease session;
    byte_lease turn;
    [[nodiscard]] bool taken() const noexcept { return turn.bytes() > 0; }
  };

  task<> one_target(fleet_target& target);
  task<> with_commands(fleet_target& target);
  task<> take(seat& mine, queue_place where);
  bool gives_way(std::exception_ptr const& failure, seat& mine);
  task<> run_post(target_commands& commands, seat& mine, bool dumped_well);
  task<> attempts(fleet_target& target, target_commands& commands, seat& mine);
  task<> attempt(fleet_target& target, target_plan plan, image_ledger& ledger,
                 target_commands& commands);
  task<> prepare(fleet_target& target, target_plan const& plan, image_ledger& ledger);
  task<> keep(fleet_target& target, target_plan const& plan, image_ledger& ledger,
              std::exception_ptr failure);
  task<std::shared_ptr<connection>> connect(fleet_target const& target);
  task<std::unique_ptr<remote_host>> connect_in_turn(fleet_target const& target);
  task<launched_agent> start_agent(remote_host& machine, agent_launch launch);

  fleet& fleet_;
  std::vector<fleet_target*> targets_;
  byte_budget sessions_;  // one unit per path at work
  // Of sessions_: those that the server turned out not to have. The rest is one at least.
  std::vector<byte_lease> refused_;
  wait_list connected_;
  bool connecting_ = false;
  std::shared_ptr<connection> connection_;
  std::exception_ptr last_connect_failure_;  // of the last try, for those who waited for it
  std::exception_ptr connect_failure_;       // one that another try does not cure
};

}  // namespace diskdump
