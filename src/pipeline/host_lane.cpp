#include "pipeline/host_lane.hpp"

#include <sys/random.h>

#include <utility>

#include "async/retry.hpp"
#include "async/scope.hpp"
#include "async/timeout.hpp"
#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "pipeline/resume.hpp"

namespace diskdump {

namespace {

session_nonce fresh_nonce() {
  session_nonce nonce;
  auto const n = ::getrandom(nonce.data(), nonce.size(), 0);
  DISKDUMP_ASSERT(n == static_cast<ssize_t>(nonce.size()));
  return nonce;
}

target_plan plan_of(fleet_target const& target, fleet_options const& options) {
  target_plan plan{
      .host = target.host,
      .path = target.path,
      .source = target.source.empty() ? target.host + ":" + target.path : target.source,
      .manifest_name = target.manifest_name,
      .date = target.date,
      .start = {},
      .codec_automatic = options.codec_automatic,
      .wire_limit_bytes_per_s = options.rates.wire_per_target,
      .silence_max = options.silence_max,
      .nonce = {},
      .expected_agents = {}};
  plan.start.path = target.path;
  plan.start.block_bytes = options.block_bytes;
  plan.start.batch_blocks = options.batch_blocks;
  plan.start.codec = options.codec;
  plan.start.skip_bad_sectors = options.skip_bad_sectors;
  plan.start.read_limit_bytes_per_s = options.rates.read_per_target;
  plan.start.low_priority = options.low_priority;
  plan.start.threads_max = options.agent_threads_max;
  for (auto const& binary : options.agents.native) plan.expected_agents.push_back(binary.digest);
  return plan;
}

bool is_of_another_source(std::exception_ptr failure) {
  try {
    std::rethrow_exception(std::move(failure));
  } catch (error const& e) {
    return e.code() == pipeline_errc::source_changed || e.code() == pipeline_errc::cannot_resume;
  } catch (...) {
    return false;
  }
}

// What a connection that is being made holds of the fleet's places.
class place_to_connect final : public login_place {
 public:
  explicit place_to_connect(fleet& shared) : fleet_(shared) {}

  task<> take() { connecting_ = co_await fleet_.connecting.acquire(1); }
  // Holds nothing but this when it completes.
  task<> take_for_question() {
    connecting_ = {};
    asking_ = co_await fleet_.asking.acquire(1);
  }
  void question_comes() override {
    if (asking_.bytes() == 0) {
      auto one = fleet_.asking.try_acquire(1);
      if (!one) throw questions_taken();
      asking_ = std::move(*one);
    }
    connecting_ = {};
  }

 private:
  fleet& fleet_;
  byte_lease connecting_;
  byte_lease asking_;
};

bool is_refused_session(std::exception_ptr failure) {
  try {
    std::rethrow_exception(std::move(failure));
  } catch (error const& e) {
    return e.code() == transport_errc::no_more_sessions;
  } catch (...) {
    return false;
  }
}

}  // namespace

host_lane::host_lane(fleet& shared, std::vector<fleet_target*> targets)
    : fleet_(shared),
      targets_(std::move(targets)),
      sessions_(shared.context.executor, limits::paths_per_host_max),
      connected_(shared.context.executor) {}

// ---- The connection -----------------------------------------------------------------------------

// Many at once would meet the bounds of a jump host or of sshd. A person takes longer than all of
// them, and nobody who needs no answer waits for him: for a question the place is given back. Who
// finds no place among the questions closes its connection until one is free, for a server would
// not wait as long.
task<std::unique_ptr<remote_host>> host_lane::connect_in_turn(fleet_target const& target) {
  place_to_connect place(fleet_);
  for (;;) {
    co_await place.take();
    try {
      co_return co_await fleet_.connect(target, place);
    } catch (questions_taken const&) {
      // Nothing failed.
    }
    co_await place.take_for_question();
  }
}

// The first target connects, the others wait for it and share its fate: a host that refuses one
// login is not asked again for each of its paths.
task<std::shared_ptr<host_lane::connection>> host_lane::connect(fleet_target const& target) {
  bool waited = false;
  for (; connecting_; waited = true) co_await connected_.wait();
  if (connect_failure_) std::rethrow_exception(connect_failure_);
  if (waited && last_connect_failure_) std::rethrow_exception(last_connect_failure_);
  if (connection_ && !connection_->suspect) co_return connection_;
  connecting_ = true;
  std::exception_ptr failure;
  try {
    connection_ = std::make_shared<connection>(connection{co_await connect_in_turn(target)});
  } catch (...) {
    failure = std::current_exception();
    if (!worth_retrying(failure) && !is_consequence(failure)) connect_failure_ = failure;
  }
  connecting_ = false;
  last_connect_failure_ = failure;
  connected_.wake_all();
  if (failure) std::rethrow_exception(failure);
  fleet_.context.log.info(
      format("{}: connected by {}", target.host, connection_->host->description()));
  co_return connection_;
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

// ---- One target ---------------------------------------------------------------------------------

task<> host_lane::attempt(fleet_target& target, target_plan plan, image_ledger& ledger,
                          target_commands& commands) {
  auto& progress = target.progress;
  auto const& options = fleet_.options;
  progress.state = target_state::connecting;
  auto const used = co_await connect(target);
  // It is there: what fails from here on is this target's matter alone.
  progress.state = target_state::starting;
  try {
    co_await commands.before(*used->host);
    plan.nonce = fresh_nonce();
    agent_launch const launch{.agent = options.agent,
                              .sudo = target.sudo,
                              .password = options.sudo,
                              .machine = login_name(target),
                              .nonce_hex = nonce_hex(plan.nonce),
                              .window_bytes = channel_window_bytes(plan.start)};
    auto agent = co_await start_agent(*used->host, launch);
    fleet_.context.log.info(format("{}: agent: {}{}", target.label, agent.location,
                                   agent.uploaded ? " (uploaded)" : ""));
    progress.agent_location = agent.location;
    progress.agent_uploaded = progress.agent_uploaded || agent.uploaded;
    target.manifest = co_await dump_target(fleet_.context, std::move(plan), std::move(agent.io),
                                           ledger, progress);
  } catch (...) {
    // Maybe it was only this dump's channel. Others go on with what they have.
    used->suspect = used->suspect || worth_retrying(std::current_exception());
    throw;
  }
}

task<> host_lane::prepare(fleet_target& target, target_plan const& plan, image_ledger& ledger) {
  if (!fleet_.options.resume) co_return;
  if (co_await take_up_interrupted(fleet_.context, plan, ledger)) {
    fleet_.context.log.info(
        format("{}: goes on at block {} of {}", target.label, ledger.frontier().value,
               block_geometry{ledger.source->image_bytes, plan.start.block_bytes}.blocks().value));
  }
}

// So that a later run can go on. What a lying target brought is not built upon, nor what is of
// another source than the one that is there now.
task<> host_lane::keep(fleet_target& target, target_plan const& plan, image_ledger& ledger,
                       std::exception_ptr failure) {
  if (!fleet_.options.keep_interrupted || severity_of(failure) == severity::corruption) co_return;
  if (is_of_another_source(failure)) co_return;
  try {
    target.resumable_bytes = co_await keep_interrupted(fleet_.context, plan, ledger);
    if (target.resumable_bytes > 0 && ledger.manifest_share) ledger.manifest_share->keep();
  } catch (std::exception const& e) {
    fleet_.context.log.info(format("{}: cannot be continued later: {}", target.label, e.what()));
  }
}

task<> host_lane::take(seat& mine, queue_place where) {
  if (mine.taken()) co_return;
  auto session = co_await sessions_.acquire(1, where);
  mine.turn = co_await fleet_.active.acquire(1, where);
  mine.session = std::move(session);
}

// A server whose MaxSessions is smaller than what we would have at work at once: this target waits
// until another one of its machine has ended. Alone, it has nothing to wait for.
bool host_lane::gives_way(std::exception_ptr const& failure, seat& mine) {
  if (!is_refused_session(failure)) return false;
  if (refused_.size() + 1 == limits::paths_per_host_max) {
    // Nothing of ours has the sessions of this connection. Another one has some.
    if (connection_) connection_->suspect = true;
    return false;
  }
  refused_.push_back(std::move(mine.session));
  mine = {};
  return true;
}

task<> host_lane::attempts(fleet_target& target, target_commands& commands, seat& mine) {
  auto const& retries = fleet_.options.retries;
  auto const plan = plan_of(target, fleet_.options);
  image_ledger ledger(target.progress, plan.start.block_bytes);
  std::exception_ptr failure;
  bool begun = false;
  for (unsigned number = 1;;) {
    target.progress.attempts = number;
    try {
      co_await take(mine, begun ? queue_place::first : queue_place::last);
      if (!std::exchange(begun, true)) {
        target.progress.started = fleet_.context.timers.clock().now();
        fleet_.observer.on_start(target);
        co_await prepare(target, plan, ledger);
      }
      co_await attempt(target, plan, ledger, commands);
      co_return;
    } catch (...) {
      failure = std::current_exception();
    }
    if (gives_way(failure, mine)) {
      target.progress.state = target_state::queued;
      continue;
    }
    bool const again = worth_retrying(failure) || is_refused_session(failure);
    if (number >= retries.attempts_max || !again || is_consequence(failure)) break;
    // A machine that is away must not take the others' places.
    mine = {};
    auto const pause = retry_delay(retries, number, fleet_.options.chance());
    target.progress.state = target_state::retrying;
    fleet_.observer.on_retry(
        target, {.failure = failure,
                 .attempt = number,
                 .attempts_max = retries.attempts_max,
                 .pause = pause,
                 .continues_at_bytes = ledger.frontier().value * plan.start.block_bytes});
    try {
      co_await fleet_.context.timers.sleep(pause);
    } catch (...) {
      failure = std::current_exception();
      break;
    }
    ++number;
  }
  // A machine that one target did not reach by all its attempts is away for the others as well.
  // One that was reached before may come back, and its other targets try by themselves.
  bool const away = target.progress.state == target_state::connecting && !connection_;
  if (away && !is_consequence(failure)) connect_failure_ = failure;
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await keep(target, plan, ledger, failure);
  std::rethrow_exception(failure);
}

// REQUIRES: it cannot be cancelled.
task<> host_lane::run_post(target_commands& commands, seat& mine, bool dumped_well) {
  co_await take(mine, queue_place::first);
  // Its last user ends it, which may be us.
  auto const used = connection_ && !connection_->suspect ? connection_ : nullptr;
  co_await commands.after(
      used ? used->host.get() : nullptr,
      [this](fleet_target const& target) { return connect_in_turn(target); }, dumped_well);
}

task<> host_lane::with_commands(fleet_target& target) {
  target_commands commands(fleet_.context, target, fleet_.options, fleet_.observer);
  seat mine;
  std::exception_ptr failure;
  try {
    co_await attempts(target, commands, mine);
  } catch (...) {
    failure = std::current_exception();
  }
  // Whatever became of the dump, what the pre command began is undone. A call that is awaited after
  // a cancellation never begins, so it is turned off here and not in there.
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  if (commands.post_due()) {
    try {
      co_await run_post(commands, mine, failure == nullptr);
    } catch (error const& e) {
      if (!failure) throw;
      // What failed first is what is told of the target. This must be heard as well: what pre began
      // is still there.
      fleet_.context.log.write(log_level::error, format("{}: {}", target.label, e.what()));
    }
  }
  if (failure) std::rethrow_exception(failure);
}

task<> host_lane::one_target(fleet_target& target) {
  auto& progress = target.progress;
  try {
    co_await with_commands(target);
    progress.state = target_state::done;
  } catch (error& e) {
    if (e.host().empty()) e.host(target.host);
    target.failure = std::make_exception_ptr(e);
  } catch (...) {
    target.failure = std::current_exception();
  }
  progress.ended = fleet_.context.timers.clock().now();
  if (target.failure) {
    progress.state = target_state::failed;
    target.interrupted = is_consequence(target.failure);
  }
  if (progress.started == clock_source::steady{}) progress.started = progress.ended;
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
  if (!connection_) co_return;
  try {
    co_await connection_->host->close();
  } catch (std::exception const& e) {
    fleet_.context.log.debug(format("closing: {}", e.what()));
  }
}

}  // namespace diskdump
