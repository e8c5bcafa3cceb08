// The dump of one target, top to bottom:
//
//   agent ──► receive ──► answer ──► (verdicts to the agent; lines to the manifest)
//     ▲             └───► verify ──► persist ──► settle
//   expect: the previous manifest                  └─► seal: barrier, then the manifest's name
//
// Every arrow is a bounded channel, every stage one coroutine of one scope.
#include "pipeline/dump.hpp"

#include <algorithm>
#include <set>

#include "async/scope.hpp"
#include "async/shield.hpp"
#include "async/timeout.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "pipeline/target_run.hpp"
#include "store/interrupted.hpp"

namespace diskdump {

std::string_view sentence(pipeline_errc e) noexcept {
  switch (e) {
    case pipeline_errc::no_room_for_manifest:
      return "the store has no room for a manifest of this image";
    case pipeline_errc::wrong_agent:
      return "the agent that answered is not the one that was sent";
    case pipeline_errc::output_exists:
      return "the output exists already";
    case pipeline_errc::output_too_small:
      return "the output is smaller than the image";
    case pipeline_errc::source_changed:
      return "the source is not the one that this dump began with";
    case pipeline_errc::cannot_resume:
      return "the interrupted dump cannot be continued";
    case pipeline_errc::command_failed:
      return "a command around the dump failed";
    case pipeline_errc::not_begun:
      return "the run ended before this target had its turn";
  }
  return "unknown pipeline error";
}

namespace {

std::uint64_t batch_bytes(start_message const& start) noexcept {
  return std::uint64_t{start.block_bytes} * start.batch_blocks;
}

// The rest of the batch, when the transport's window has its part; never less than what two blocks
// need, or a large block could not pass at all.
std::uint64_t budget_bytes(start_message const& start) noexcept {
  auto const window = channel_window_bytes(start);
  auto const batch = batch_bytes(start);
  auto const rest = batch > window ? batch - window : 0;
  return std::max<std::uint64_t>(
      rest, 2 * (std::uint64_t{start.block_bytes} + limits::lz4_frame_added_bytes_max));
}

}  // namespace

std::size_t channel_window_bytes(start_message const& start) noexcept {
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(
      batch_bytes(start) / 2, limits::channel_window_bytes_min, limits::channel_window_bytes_max));
}

target_run::target_run(dump_context& shared, target_plan const& what, stream& wire,
                       image_ledger& book, target_progress& counters)
    : context(shared),
      plan(what),
      io(wire),
      ledger(book),
      progress(counters),
      session(what.nonce, what.start),
      budget(shared.executor, budget_bytes(what.start)),
      receiving(shared.timers, what.wire_limit_bytes_per_s),
      codec(what.start.codec, what.codec_automatic,
            std::uint64_t{what.start.batch_blocks} * what.start.block_bytes),
      output_ready(shared.executor),
      announced_more(shared.executor),
      heard_last(shared.timers.clock().now()),
      wire_bytes_before_(counters.bytes_wire) {}

target_run::~target_run() {
  context.claims.leave(*this);
  end_reading();
}

void target_run::begin_reading() {
  if (context.reading != nullptr) context.reading->join(*this);
}

void target_run::end_reading() {
  if (context.reading != nullptr) context.reading->leave(*this);
}

void target_run::share_changed(std::uint64_t bytes_per_s) {
  auto const own = plan.start.read_limit_bytes_per_s;
  session.limit_read(own == 0 ? bytes_per_s : std::min(own, bytes_per_s));
  // Not wake_transmit(): that others come and go is no sign of life of this one.
  output_ready.wake_all();
}

task<> target_run::pace() {
  auto const crossed = io.wire_bytes();
  auto const fresh = crossed - std::exchange(charged_bytes_, crossed);
  co_await receiving.take(fresh);
  if (context.receiving != nullptr) co_await context.receiving->take(fresh);
}

task<> target_run::room_for_lines(block_index first, block_count blocks) {
  auto& share = ledger.manifest_share;
  if (!share) co_return;
  auto const before = manifest_line_bytes(context.store, block_count{first.value});
  auto const after = manifest_line_bytes(context.store, block_count{first.value} + blocks);
  co_await share->take(after - before);
}

void target_run::settled(block_index index, verdict outcome) {
  if (auto const at = unanswered_waits_.find(index.value); at != unanswered_waits_.end()) {
    at->second = outcome;
    return;
  }
  if (outcome == verdict::have) ledger.stored(index, false);
  session.settle(index, outcome);
  wake_transmit();
}

claim_holder::delivery target_run::how_it_delivers() {
  auto const now = context.timers.clock().now();
  auto const had = had_to_send.total();
  claim_pace_.look(listening ? had + (now - listening_since) : had, blocks_came, session.needed());
  if (session.needed() == 0) return delivery::brisk;
  if (listening && now - heard_last >= limits::claim_patience) return delivery::silent;
  return claim_pace_.too_slow() ? delivery::slow : delivery::brisk;
}

namespace {

task<> run_stages(target_run& run) {
  auto const& executor = run.context.executor;
  auto const blocks_queued = std::max<std::size_t>(run.plan.start.batch_blocks, 2);
  auto const jobs_queued = run.context.workers.threads() + 1;

  auto [announced_out, announced_in] =
      make_channel<digests_message>(executor, limits::announcements_queued_max);
  auto [blocks_out, blocks_in] = make_channel<block_in_flight>(executor, blocks_queued);
  auto [verified_out, verified_in] = make_channel<job<block_batch>>(executor, jobs_queued);
  auto [persisted_out, persisted_in] =
      make_channel<job<persisted_batch>>(executor, limits::writer_threads);

  co_await with_scope([&](scope& stages) {
    stages.spawn(receive_stage(run, std::move(announced_out), std::move(blocks_out)));
    stages.spawn(expect_stage(run));
    stages.spawn(answer_stage(run, std::move(announced_in)));
    stages.spawn(verify_stage(run, std::move(blocks_in), std::move(verified_out)));
    stages.spawn(persist_stage(run, std::move(verified_in), std::move(persisted_out)));
    stages.spawn(settle_stage(run, std::move(persisted_in)));
    stages.spawn(transmit_stage(run));
  });
}

// From here on every block that the manifest names is in the store, but not yet durable.
task<std::string> seal(target_run& run) {
  run.progress.state = target_state::sealing;
  auto& context = run.context;
  co_return co_await offload(context.writers, [&run, &context]() -> std::string {
    stage_timer const busy(context.times, stage::seal);
    auto& manifest = *run.ledger.manifest;
    run.ledger.tell_bad_ranges();
    context.store.barrier();
    // From here on every block is durable; the manifest may be seen.
    auto path = manifest.publish(run.plan.date.value_or(context.timers.clock().wall_now()));
    // From here on the dump has succeeded, whatever else fails.
    try {
      forget_interrupted(context.base, run.plan.manifest_name);
    } catch (error const& e) {
      context.log.warning(format("{}: {}", run.plan.host, e.what()));
    }
    return path;
  });
}

// What was on its way into the store when a stage failed may have got there, put by us or by
// another target. REQUIRES: all jobs have ended.
task<> settle_rest(target_run& run) {
  auto const waiting = run.ledger.waiting();
  if (waiting.empty()) co_return;
  std::vector<block_id> ids;
  for (auto const& [index, id] : waiting) ids.push_back(id);
  std::set<block_index> ours;
  for (auto const& batch : run.puts) ours.insert(batch->begin(), batch->end());
  try {
    auto const missing = co_await offload(run.context.writers,
                                          [&run, &ids] { return run.context.store.missing(ids); });
    for (std::size_t i = 0; i < ids.size(); ++i) {
      auto const index = waiting[i].first;
      if (!missing[i]) run.ledger.stored(index, ours.contains(index));
    }
  } catch (error const& e) {
    run.context.log.debug(format("{}: {}", run.plan.host, e.what()));
  }
}

// Others may wait for the space of a manifest that was given up. Without its lines no further
// attempt can go on, so that is what the target failed by, if it was not cancelled.
task<std::exception_ptr> leave_room(target_run& run, std::exception_ptr failure) {
  auto& share = *run.ledger.manifest_share;
  if (!share.given_up()) {
    share.pause();
    co_return failure;
  }
  auto const why = share.no_room();
  co_await offload(run.context.writers, [&run] { run.ledger.manifest.reset(); });
  share.removed();
  co_return is_consequence(failure) ? failure : std::make_exception_ptr(why);
}

// Host and path belong to every failure of a target; the stage that threw may not know them.
[[noreturn]] void rethrow_with_place(std::exception_ptr failure, target_plan const& plan) {
  try {
    std::rethrow_exception(failure);
  } catch (error& e) {
    if (e.host().empty()) e.host(plan.host);
    if (e.path().empty()) e.path(plan.path);
    throw;
  } catch (std::system_error const& e) {
    if (e.code() == asio::error::operation_aborted) throw;
    throw errno_error(e.code().value(), e.what()).host(plan.host).path(plan.path);
  }
}

// Where a frame was cut they would be taken for the rest of it: then the end of the stream says it.
task<> say_last_words(target_run& run) {
  auto const last_words = run.session.take_output();
  if (!run.within_frame) co_await run.io.write(last_words);
  co_await run.io.write_eof();
}

// Why the dump ended: what the agent said broke a rule, or the reason is none of its business.
void say_abort(server_session& session, std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (error const& e) {
    bool const breach =
        e.code().category() == errc_category<wire_errc>() && e.code() != wire_errc::aborted_by_peer;
    if (breach) return session.abort(abort_code::protocol, e.code().message());
  } catch (...) {
    // Told as the rest is.
  }
  session.abort(abort_code::cancelled, "the dump was abandoned");
}

// Tells the agent the end, good or bad, as far as the connection still carries it, and closes. An
// agent that stands still and reads nothing does not keep us: nothing else would end the wait.
task<> hang_up(target_run& run, std::exception_ptr failure) {
  try {
    if (failure) {
      say_abort(run.session, failure);
    } else {
      run.session.finish();
    }
    co_await with_timeout(run.context.timers, limits::close_wait_max, say_last_words(run));
  } catch (std::exception const& e) {
    run.context.log.debug(format("{}: hanging up: {}", run.plan.host, e.what()));
  }
}

// It cannot be cancelled from where its stages have ended: what is left is short and must be done.
task<std::string> dump_and_hang_up(dump_context& context, target_plan plan,
                                   std::unique_ptr<stream> io, image_ledger& ledger,
                                   target_progress& progress) {
  std::string manifest_path;
  std::exception_ptr failure;
  plan.start.first_block = ledger.begin_attempt();
  auto& share = ledger.manifest_share;
  if (context.manifests != nullptr && !share) share.emplace(*context.manifests);
  {
    target_run run(context, plan, *io, ledger, progress);
    progress.state = target_state::dumping;
    try {
      co_await run_stages(run);
      if (share) share->pause();
      manifest_path = co_await seal(run);
      if (share) share->keep();
    } catch (...) {
      failure = std::current_exception();
    }
    // Who waits for a block of this target must not wait until it has hung up, nor who could read
    // faster without it.
    context.claims.leave(run);
    run.end_reading();
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    {
      // Jobs that were in flight when a stage failed still hold blocks, and use the store.
      auto const all_came_back = co_await run.budget.acquire(run.budget.capacity_bytes());
    }
    if (failure) co_await settle_rest(run);
    if (failure && share) failure = co_await leave_room(run, failure);
    co_await hang_up(run, failure);
    run.count_wire();
  }
  exit_report report;
  try {
    report = co_await io->close();
  } catch (std::exception const& e) {
    context.log.debug(format("{}: closing: {}", plan.host, e.what()));
  }
  if (!failure) co_return manifest_path;
  try {
    std::rethrow_exception(failure);
  } catch (error& e) {
    // A program that ended before its time usually said why on stderr.
    bool const ended_early = e.code() == wire_errc::early_end || e.code() == wire_errc::no_hello;
    if (ended_early) {
      std::string why = e.cause();
      if (report.signal) why += format("; the agent was killed by signal {}", *report.signal);
      if (report.status) why += format("; exit status {}", *report.status);
      if (!report.stderr_tail.empty()) why += "; stderr: " + printable(report.stderr_tail);
      e.cause(why);
    }
    failure = std::make_exception_ptr(e);
  } catch (...) {
    failure = std::current_exception();
  }
  rethrow_with_place(failure, plan);
}

}  // namespace

task<std::string> dump_target(dump_context& context, target_plan plan, std::unique_ptr<stream> io,
                              image_ledger& ledger, target_progress& progress) {
  return with_own_cancellation(
      dump_and_hang_up(context, std::move(plan), std::move(io), ledger, progress));
}

}  // namespace diskdump
