#include "pipeline/fleet.hpp"

#include <sys/random.h>

#include <map>
#include <tuple>

#include "async/byte_budget.hpp"
#include "async/scope.hpp"
#include "async/timeout.hpp"
#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"

namespace diskdump {

namespace {

session_nonce fresh_nonce() {
  session_nonce nonce;
  auto const n = ::getrandom(nonce.data(), nonce.size(), 0);
  DISKDUMP_ASSERT(n == static_cast<ssize_t>(nonce.size()));
  return nonce;
}

bool is_this_machine(fleet_target const& t) {
  return t.host == "localhost" && !t.ssh.user && !t.ssh.port &&
         t.ssh.transport == transport_choice::automatic;
}

// What the targets of one fleet share beside the dump's own context.
struct fleet {
  dump_context& context;
  connect_context connect;
  fleet_options options;
  fleet_observer& observer;
  byte_budget active;  // one unit per target at work
};

// One machine: its connection, made when the first of its targets gets its turn, and shared.
class host_lane {
 public:
  host_lane(fleet& shared, std::vector<fleet_target*> targets)
      : fleet_(shared),
        targets_(std::move(targets)),
        sessions_(shared.context.executor, limits::paths_per_host_max),
        connected_(shared.context.executor) {}

  task<> run();

 private:
  task<> one_target(fleet_target& target);
  task<> dump(fleet_target& target);
  task<remote_host*> host(fleet_target const& target);
  task<launched_agent> start_agent(remote_host& machine, agent_launch launch);

  fleet& fleet_;
  std::vector<fleet_target*> targets_;
  byte_budget sessions_;  // one unit per channel in use
  wait_list connected_;
  bool connecting_ = false;
  std::unique_ptr<remote_host> host_;
  std::exception_ptr connect_failure_;
};

// The first target connects, the others wait for it and share its fate: a host that refuses one
// login is not asked again for each of its paths.
task<remote_host*> host_lane::host(fleet_target const& target) {
  while (connecting_) co_await connected_.wait();
  if (connect_failure_) std::rethrow_exception(connect_failure_);
  if (host_) co_return host_.get();
  connecting_ = true;
  try {
    if (is_this_machine(target)) {
      host_ = open_local_host(fleet_.connect);
    } else {
      host_ = co_await connect_ssh(fleet_.connect, target.host, target.ssh);
    }
  } catch (...) {
    connect_failure_ = std::current_exception();
  }
  connecting_ = false;
  connected_.wake_all();
  if (connect_failure_) std::rethrow_exception(connect_failure_);
  co_return host_.get();
}

task<launched_agent> host_lane::start_agent(remote_host& machine, agent_launch launch) {
  try {
    co_return co_await with_timeout(
        fleet_.context.timers, limits::deploy_timeout_max,
        launch_agent(machine, fleet_.options.agents, launch, fleet_.context.log));
  } catch (error& e) {
    if (e.code() == async_errc::timed_out) {
      e.cause(
          format("the agent did not start within {} seconds", limits::deploy_timeout_max.count()));
    }
    throw;
  }
}

task<> host_lane::dump(fleet_target& target) {
  auto const& options = fleet_.options;
  target.progress.state = target_state::connecting;
  auto* const machine = co_await host(target);
  fleet_.context.log.info(format("{}: connected by {}", target.host, machine->description()));

  target_plan plan{
      .host = target.host,
      .path = target.path,
      .source = target.source.empty() ? target.host + ":" + target.path : target.source,
      .manifest_name = target.manifest_name,
      .date = target.date,
      .start = {},
      .nonce = fresh_nonce(),
      .expected_agents = {}};
  plan.start.path = target.path;
  plan.start.block_bytes = options.block_bytes;
  plan.start.batch_blocks = options.batch_blocks;
  plan.start.codec = options.codec;
  plan.start.skip_bad_sectors = options.skip_bad_sectors;
  for (auto const& binary : options.agents.native) plan.expected_agents.push_back(binary.digest);

  target.progress.state = target_state::starting;
  agent_launch const launch{.agent = options.agent,
                            .sudo = target.sudo,
                            .nonce_hex = nonce_hex(plan.nonce),
                            .window_bytes = channel_window_bytes(plan.start)};
  auto agent = co_await start_agent(*machine, launch);
  fleet_.context.log.info(
      format("{}: agent: {}{}", target.label, agent.location, agent.uploaded ? " (uploaded)" : ""));
  target.progress.agent_location = agent.location;
  target.progress.agent_uploaded = agent.uploaded;
  target.manifest =
      co_await dump_target(fleet_.context, std::move(plan), std::move(agent.io), target.progress);
}

task<> host_lane::one_target(fleet_target& target) {
  auto& progress = target.progress;
  auto const& clock = fleet_.context.timers.clock();
  bool started = false;
  try {
    auto const session = co_await sessions_.acquire(1);
    auto const turn = co_await fleet_.active.acquire(1);
    progress.started = clock.now();
    started = true;
    fleet_.observer.on_start(target);
    co_await dump(target);
    progress.state = target_state::done;
  } catch (error& e) {
    if (e.host().empty()) e.host(target.host);
    target.failure = std::make_exception_ptr(e);
  } catch (...) {
    target.failure = std::current_exception();
  }
  progress.ended = clock.now();
  if (target.failure) {
    progress.state = target_state::failed;
    target.interrupted = is_consequence(target.failure);
  }
  if (!started) progress.started = progress.ended;
  fleet_.observer.on_end(target);
}

task<> host_lane::run() {
  try {
    co_await with_scope([this](scope& paths) {
      for (auto* const t : targets_) paths.spawn(one_target(*t));
    });
  } catch (std::exception const& e) {
    fleet_.context.log.debug(format("host lane: {}", e.what()));
  }
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  if (!host_) co_return;
  try {
    co_await host_->close();
  } catch (std::exception const& e) {
    fleet_.context.log.debug(format("closing: {}", e.what()));
  }
}

}  // namespace

task<> dump_fleet(dump_context& context, connect_context connect,
                  std::vector<fleet_target>& targets, fleet_options options,
                  fleet_observer& observer) {
  fleet shared{context, connect, options, observer,
               byte_budget(context.executor, std::max<std::size_t>(options.targets_active_max, 1))};
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
    co_await with_scope([&lanes](scope& machines) {
      for (auto const& lane : lanes) machines.spawn(lane->run());
    });
  } catch (std::exception const& e) {
    context.log.debug(format("fleet: {}", e.what()));
  }
}

}  // namespace diskdump
