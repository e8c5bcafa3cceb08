#include "pipeline/fleet.hpp"

#include <map>
#include <tuple>

#include "async/byte_budget.hpp"
#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "pipeline/host_lane.hpp"

namespace diskdump {

namespace {

bool is_this_machine(fleet_target const& t) {
  return t.host == "localhost" && !t.ssh.user && !t.ssh.port &&
         t.ssh.transport == transport_choice::automatic;
}

// Takes blocks that others wait for from targets that stand still. Until cancelled.
task<> watch_claims(dump_context& context) {
  for (;;) {
    co_await context.timers.sleep(limits::claim_check_interval);
    context.claims.pass_stalled();
  }
}

task<> run_lanes(std::vector<std::unique_ptr<host_lane>> const& lanes, scope& all) {
  co_await with_scope([&lanes](scope& machines) {
    for (auto const& lane : lanes) machines.spawn(lane->run());
  });
  all.cancel();
}

task<std::unique_ptr<remote_host>> local_host(connect_context context) {
  co_return open_local_host(context);
}

}  // namespace

std::string login_name(fleet_target const& target) {
  return format("{}@{}:{}", target.ssh.user.value_or(""), target.host, target.ssh.port.value_or(0));
}

host_connector make_host_connector(connect_context context) {
  return [context](fleet_target const& target, login_place& place) {
    if (is_this_machine(target)) return local_host(context);
    auto placed = context;
    placed.place = &place;
    return connect_ssh(placed, target.host, target.ssh);
  };
}

task<> dump_fleet(dump_context& context, host_connector connect, std::vector<fleet_target>& targets,
                  fleet_options options, fleet_observer& observer) {
  auto const active_max = std::max<std::size_t>(options.targets_active_max, 1);
  fleet shared{context,
               std::move(connect),
               std::move(options),
               observer,
               byte_budget(context.executor, active_max),
               byte_budget(context.executor, limits::connects_in_flight_max),
               byte_budget(context.executor, limits::questions_open_max)};
  using machine = std::tuple<std::string, std::string, std::uint16_t>;
  std::map<machine, std::vector<fleet_target*>> by_machine;
  std::vector<std::vector<fleet_target*>*> in_order;
  for (auto& t : targets) {
    machine const key(t.host, t.ssh.user.value_or(""), t.ssh.port.value_or(0));
    auto const [at, is_new] = by_machine.try_emplace(key);
    if (is_new) in_order.push_back(&at->second);
    at->second.push_back(&t);
  }
  std::vector<std::unique_ptr<host_lane>> lanes;
  for (auto* const group : in_order) {
    lanes.push_back(std::make_unique<host_lane>(shared, std::move(*group)));
  }
  try {
    co_await with_scope([&](scope& all) {
      all.spawn(watch_claims(context));
      all.spawn(run_lanes(lanes, all));
    });
  } catch (std::exception const& e) {
    // The end of the watch over the claims is none, and no target's failure comes here.
    if (!is_consequence(std::current_exception())) {
      context.log.write(log_level::error, format("fleet: {}", e.what()));
    }
  }
}

}  // namespace diskdump
