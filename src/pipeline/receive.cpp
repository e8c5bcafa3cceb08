// Stage receive. Takes: the agent's bytes. Gives: announcements (in image order) to answer, blocks
// (in the order in which they arrive) to verify. A block's bytes are let in only under a lease.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "async/timeout.hpp"
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
  run.session.start();
  run.wake_transmit();
}

// The manifest takes 65 bytes a block, and holes cost the target nothing to announce: a size that
// was made up must not fill the store's disk.
void check_room_for_manifest(target_run const& run, block_count blocks) {
  std::error_code unknown;
  auto const space = std::filesystem::space(run.context.base, unknown);
  auto const manifest_bytes = blocks.value * limits::manifest_bytes_per_block;
  if (!unknown && manifest_bytes > space.available / 2) {
    throw error(pipeline_errc::no_room_for_manifest, severity::permanent)
        .cause(format("{} blocks need {} bytes, {} are free", blocks.value, manifest_bytes,
                      space.available))
        .remedy("free space, or use a larger --block-size");
  }
}

task<> on_source(target_run& run) {
  auto const geometry = run.session.geometry();
  run.progress.image_bytes = geometry.image_bytes;
  run.progress.blocks = geometry.blocks();
  auto const date = run.plan.date.value_or(run.context.timers.clock().wall_now());
  manifest_header header{
      .source = run.plan.source, .date = iso_time(date), .geometry = geometry, .extra = {}};
  co_await offload(run.context.writers, [&] {
    check_room_for_manifest(run, geometry.blocks());
    run.manifest.emplace(run.context.base, run.plan.manifest_name, std::move(header));
  });
}

// A target that says nothing for so long has lost its machine or its mind.
task<std::size_t> with_patience(target_run& run, task<std::size_t> read) {
  try {
    co_return co_await with_timeout(run.context.timers, limits::silence_timeout_max,
                                    std::move(read));
  } catch (error& e) {
    if (e.code() == async_errc::timed_out) {
      e.cause(
          format("not a byte from the target for {} seconds", limits::silence_timeout_max.count()));
    }
    throw;
  }
}

task<> receive_until_end(target_run& run, sender<digests_message>& announced,
                         sender<block_in_flight>& blocks) {
  byte_vector buffer(limits::stream_read_bytes);
  byte_lease lease;  // for the block that is coming in
  while (!run.session.has_ended()) {
    auto const n = co_await with_patience(run, run.io.read(byte_span(buffer)));
    if (n == 0) run.session.feed_eof();
    run.progress.bytes_wire = run.io.wire_bytes();
    auto input = byte_view(buffer).first(n);
    while (auto event = run.session.feed(input)) {
      if (auto* const hello = std::get_if<hello_message>(&*event)) {
        on_hello(run, *hello);
      } else if (std::holds_alternative<source_message>(*event)) {
        co_await on_source(run);
      } else if (auto* const group = std::get_if<digests_message>(&*event)) {
        auto const next = run.session.announced().next();
        run.progress.announced_bytes =
            std::min(run.session.geometry().offset_bytes(next), run.progress.image_bytes);
        co_await announced.send(std::move(*group));
      } else if (auto* const incoming = std::get_if<block_incoming>(&*event)) {
        lease = co_await run.budget.acquire(incoming->payload_bytes);
      } else if (auto* const block = std::get_if<block_received>(&*event)) {
        co_await blocks.send({std::move(*block), std::exchange(lease, {})});
      } else if (auto* const note = std::get_if<note_message>(&*event)) {
        run.context.log.write(note->level >= 2 ? log_level::warning : log_level::info,
                              run.plan.host + ": " + run.plan.path + ": " + note->text);
      } else if (auto* const bad = std::get_if<bad_range_message>(&*event)) {
        run.progress.bad_bytes += bad->length_bytes;
        run.bad_ranges.push_back(*bad);
      }
    }
  }
}

}  // namespace

task<> receive_stage(target_run& run, sender<digests_message> announced,
                     sender<block_in_flight> blocks) {
  try {
    co_await receive_until_end(run, announced, blocks);
  } catch (...) {
    // The session is useless now; nobody's claim may be settled through it any more.
    run.context.claims.leave(run);
    throw;
  }
  announced.finish();
  blocks.finish();
  // END means that every block was answered and every claim settled: nothing is left to say but
  // DONE, once all is durable.
  run.closing = true;
  run.wake_transmit();
}

}  // namespace diskdump
