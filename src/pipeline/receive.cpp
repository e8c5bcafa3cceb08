// Stage receive. Takes: the agent's bytes. Gives: announcements (in image order) to answer, blocks
// (in the order in which they arrive) to verify. A block's bytes are let in only under a lease.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "async/async_errc.hpp"
#include "async/watcher.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "pipeline/target_run.hpp"

namespace diskdump {

namespace {

void on_hello(target_run& run, hello_message const& hello) {
  auto const& expected = run.plan.expected_agents;
  bool const known =
      expected.empty() || hello.engine == read_engine::python ||
      std::find(expected.begin(), expected.end(), hello.self_digest) != expected.end();
  if (!known) {
    throw error(pipeline_errc::wrong_agent, severity::permanent)
        .cause(format("its SHA-256 is {}", hello.self_digest.hex()))
        .remedy("remove the diskdump folder from the cache on the target");
  }
  run.progress.engine = to_string(hello.engine);
  // It has nothing but zlib, whatever it is told.
  if (hello.engine == read_engine::python) run.codec = {run.plan.start.codec, false, 0};
  run.begin_reading();
  run.session.start();
  run.wake_transmit();
  run.announced_more.wake_all();
}

// The manifest takes bytes for each block, and holes cost the target nothing to announce: a size
// that was made up must not fill the store's disk.
void check_room_for_manifest(target_run const& run, block_count blocks) {
  std::error_code unknown;
  auto const space = std::filesystem::space(run.context.base, unknown);
  auto const manifest_bytes = manifest_bytes_max(run.context.store, blocks);
  if (!unknown && manifest_bytes > space.available / 2) {
    throw error(pipeline_errc::no_room_for_manifest, severity::permanent)
        .cause(format("{} blocks need {} bytes, {} are free", blocks.value, manifest_bytes,
                      space.available))
        .remedy("free space, or use a larger --block-size");
  }
}

task<> on_source(target_run& run, source_message const& source) {
  auto& ledger = run.ledger;
  ledger.check_source(source);
  auto const geometry = run.session.geometry();
  if (source.without_ring) run.progress.engine = to_string(read_engine::posix);
  run.progress.image_bytes = geometry.image_bytes;
  run.progress.blocks = geometry.blocks();
  auto const date = run.plan.date.value_or(run.context.timers.clock().wall_now());
  manifest_header header{
      .source = run.plan.source, .date = iso_time(date), .geometry = geometry, .extra = {}};
  auto const known = block_count{run.plan.start.first_block.value};
  if (ledger.manifest_share) {
    ledger.manifest_share->restart(manifest_line_bytes(run.context.store, known));
  }
  co_await offload(run.context.writers, [&] {
    if (ledger.manifest) {
      ledger.rewind_manifest(known);
      return;
    }
    check_room_for_manifest(run, geometry.blocks());
    ledger.manifest.emplace(run.context.base, run.plan.manifest_name, std::move(header),
                            run.context.store);
  });
}

// The most that the block takes until it is in the store: a frame that came as the store keeps it
// stays as it is, all else becomes one.
std::size_t bytes_on_the_way(block_incoming const& block) {
  if (block.codec == block_codec::lz4) return block.payload_bytes;
  return std::max(block.payload_bytes, block.raw_bytes + limits::lz4_frame_added_bytes_max);
}

// Tells the target to change its codec where that is worth it.
void choose_codec(target_run& run, clock_source::steady asked, std::uint64_t content_bytes) {
  auto const now = run.context.timers.clock().now();
  auto const next = run.codec.observe({.now = now,
                                       .starved = now - asked,
                                       .wire_bytes = run.io.wire_bytes(),
                                       .content_bytes = content_bytes});
  if (!next) return;
  run.session.switch_codec(*next);
  run.wake_transmit();
}

// A target that says nothing for so long has lost its machine or its mind, unless it is us whom it
// waits for: all its memory may hold blocks that another target is to send. One watcher for all
// reads: a timer for each would cost more than the read. Ends only by what it throws.
task<> watch_silence(target_run& run) {
  auto const patience = run.plan.silence_max;
  auto const& timers = run.context.timers;
  for (;;) {
    auto const silent = timers.clock().now() - run.heard_last;
    if (!run.listening) {
      // Who listens again begins a time of its own, so a look now and then is early enough.
      co_await run.context.timers.sleep(patience / 4);
    } else if (silent < patience) {
      co_await run.context.timers.sleep(patience - silent);
    } else if (!run.session.owes()) {
      run.heard_last = timers.clock().now();
    } else {
      auto const seconds = std::chrono::duration_cast<std::chrono::seconds>(patience);
      throw error(async_errc::timed_out, severity::transient)
          .cause(format("not a byte from the target for {} seconds", seconds.count()));
    }
  }
}

// Feeds the session, and keeps count of the time that this takes and of the bytes that are of no
// block.
class counted_feed {
 public:
  explicit counted_feed(target_run& run) : run_(run) {}

  std::optional<server_session::event> operator()(byte_view& input) {
    auto const& clock = run_.context.timers.clock();
    auto const began = clock.now();
    auto const before = input.size();
    auto event = run_.session.feed(input);
    if (!within_block_) other_bytes_ += before - input.size();
    if (event) within_block_ = std::holds_alternative<block_incoming>(*event);
    run_.had_to_send.decoded(clock.now() - began);
    return event;
  }
  // Since it was asked before.
  [[nodiscard]] std::uint64_t take_other_bytes() noexcept { return std::exchange(other_bytes_, 0); }

 private:
  target_run& run_;
  bool within_block_ = false;
  std::uint64_t other_bytes_ = 0;
};

std::uint64_t blocks_of(digests_message const& group) {
  std::uint64_t blocks = 0;
  for (auto const& r : group.runs) blocks += r.blocks.value;
  return blocks;
}

task<> receive_until_end(target_run& run, sender<digests_message>& announced,
                         sender<block_in_flight>& blocks) {
  byte_vector buffer(limits::stream_read_bytes);
  byte_lease lease;                 // for the block that is coming in
  std::uint64_t content_bytes = 0;  // of the blocks that came
  auto const& clock = run.context.timers.clock();
  counted_feed feed(run);
  while (!run.session.has_ended()) {
    auto const asked = clock.now();
    run.heard_last = run.listening_since = asked;
    run.listening = true;
    std::size_t n = 0;
    {
      wait_timer const waiting(run.context.times, stage::wait_for_agent);
      n = co_await run.io.read(byte_span(buffer));
    }
    run.listening = false;
    auto const came = run.heard_last = clock.now();
    run.had_to_send.listened(came - asked);
    if (n == 0) run.session.feed_eof();
    run.count_wire();
    co_await run.pace();
    auto const paced = clock.now() - came;
    if (run.session.needed() > 0) choose_codec(run, asked, content_bytes);
    auto input = byte_view(buffer).first(n);
    while (auto event = feed(input)) {
      if (auto* const hello = std::get_if<hello_message>(&*event)) {
        on_hello(run, *hello);
      } else if (auto* const source = std::get_if<source_message>(&*event)) {
        co_await on_source(run, *source);
      } else if (auto* const group = std::get_if<digests_message>(&*event)) {
        auto const next = run.session.announced().next();
        run.progress.announced_bytes =
            std::min(run.session.geometry().offset_bytes(next), run.progress.image_bytes);
        run.announced_more.wake_all();
        auto const runs = group->runs.size();
        auto const blocks_announced = blocks_of(*group);
        auto const began = clock.now();
        co_await announced.send(std::move(*group));
        run.had_to_send.announced(clock.now() - began, runs, blocks_announced);
      } else if (auto* const incoming = std::get_if<block_incoming>(&*event)) {
        wait_timer const waiting(run.context.times, stage::wait_for_room);
        lease = co_await run.budget.acquire(bytes_on_the_way(*incoming));
      } else if (auto* const block = std::get_if<block_received>(&*event)) {
        content_bytes += block->raw_bytes;
        ++run.blocks_came;
        co_await blocks.send({std::move(*block), std::exchange(lease, {})});
      } else if (auto* const note = std::get_if<note_message>(&*event)) {
        run.context.log.write(note->level >= 2 ? log_level::warning : log_level::info,
                              run.plan.host + ": " + run.plan.path + ": " + note->text);
      } else if (auto* const bad = std::get_if<bad_range_message>(&*event)) {
        run.ledger.add(*bad);
      }
    }
    run.had_to_send.paced(paced, feed.take_other_bytes(), n);
  }
}

}  // namespace

task<> receive_stage(target_run& run, sender<digests_message> announced,
                     sender<block_in_flight> blocks) {
  try {
    co_await with_watcher(receive_until_end(run, announced, blocks), watch_silence(run));
  } catch (...) {
    // The session is useless now; nobody's claim may be settled through it any more.
    run.context.claims.leave(run);
    throw;
  }
  announced.finish();
  blocks.finish();
  run.end_reading();
  // END means that every block was answered and every claim settled: nothing is left to say but
  // DONE, once all is durable.
  run.closing = true;
  run.announced_more.wake_all();
  run.wake_transmit();
}

}  // namespace diskdump
