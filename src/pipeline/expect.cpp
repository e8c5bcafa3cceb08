// Stage expect. Takes: the newest manifest of the target's name, as a stream. Gives: EXPECT, ahead
// of the reader: what the store holds and the image was the last time. Blocks that are still the
// same need no answer, so that their rate does not depend on the round trip. It only ever helps: a
// manifest that is missing, damaged or of no use is no failure.
#include <algorithm>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/digest.hpp"
#include "pipeline/target_run.hpp"
#include "store/manifest.hpp"

namespace diskdump {

namespace {

// Digests tell what a machine's disk holds. They are told to no machine but the one they came from,
// even where somebody gave two of them one name.
bool is_of_this_machine(target_plan const& plan, manifest_header const& header) {
  return header.source == plan.source || header.source.starts_with(plan.host + ":");
}

// On a writer thread.
std::optional<manifest_reader> open_previous(dump_context& context, target_plan const& plan) {
  auto const path = newest_manifest(context.base, plan.manifest_name);
  if (!path) return std::nullopt;
  manifest_reader reader(*path, context.store);
  auto const& header = reader.header();
  auto const refuse = [&](std::string_view why) {
    context.log.debug(format("{}: nothing is expected: {}: {}", plan.host, reader.path(), why));
    return std::nullopt;
  };
  if (header.geometry.block_bytes != plan.start.block_bytes) return refuse("another block size");
  if (!is_of_this_machine(plan, header)) return refuse("of another machine");
  return reader;
}

// The manifest from here on. Used by one stage, on writer threads.
class previous_image {
 public:
  previous_image(manifest_reader reader, block_store& store)
      : reader_(std::move(reader)),
        store_(store),
        zeros_(zero_block_id(reader_.header().geometry.block_bytes)) {}

  struct part {
    block_index first;
    std::vector<block_id> ids;
    std::size_t told = 0;  // of `ids`, those that are not no_block
    bool at_end = false;
  };

  // Some of the ids from `from` on, or some lines on the way there. What the store lacks, and
  // zeros, which need no answer anyway, are no_block.
  part next(block_index from) {
    part result{.first = at_, .ids = {}};
    std::vector<block_id> asked;
    std::vector<std::size_t> asked_at;
    for (std::uint64_t i = 0; i < limits::manifest_lines_per_hop; ++i) {
      auto const id = reader_.next();
      result.at_end = !id;
      if (!id) break;
      ++at_;
      bool const useful = *id != zeros_ && at_ > from;
      if (!useful && asked.empty()) {
        result.first = at_;
        continue;
      }
      result.ids.push_back(no_block);
      if (useful) {
        asked_at.push_back(result.ids.size() - 1);
        asked.push_back(*id);
      }
      if (result.ids.size() == limits::expected_ids_max) break;
    }
    if (asked.empty()) return result;
    auto const missing = store_.missing(asked);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      if (missing[i]) continue;
      result.ids[asked_at[i]] = asked[i];
      ++result.told;
    }
    return result;
  }

 private:
  manifest_reader reader_;
  block_store& store_;
  block_id zeros_;
  block_index at_;  // the next line's block
};

task<> expect_all(target_run& run, previous_image& previous) {
  auto& session = run.session;
  for (;;) {
    auto const part = co_await offload(run.context.writers, [&, from = session.expected_from()] {
      stage_timer const busy(run.context.times, stage::look_up);
      return previous.next(from);
    });
    // The lease of this dump is held, so what the store said to have stays there.
    while (!run.closing && part.told > 0 &&
           (!session.has_started() || part.told > session.expected_room())) {
      co_await run.announced_more.wait();
    }
    if (run.closing) co_return;
    if (part.told > 0) session.expect(part.first, part.ids);
    // Not wake_transmit(): the agent does not wait for this, so its silence does not begin anew.
    run.output_ready.wake_all();
    if (part.at_end) co_return;
  }
}

}  // namespace

task<> expect_stage(target_run& run) {
  try {
    auto reader = co_await offload(run.context.writers,
                                   [&run] { return open_previous(run.context, run.plan); });
    if (!reader) co_return;
    previous_image previous(std::move(*reader), run.context.store);
    co_await expect_all(run, previous);
  } catch (error const& e) {
    run.context.log.debug(format("{}: nothing more is expected: {}", run.plan.host, e.what()));
  }
}

}  // namespace diskdump
