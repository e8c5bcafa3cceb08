#include "pipeline/resume.hpp"

#include <charconv>

#include "base/format.hpp"
#include "store/interrupted.hpp"

namespace diskdump {

namespace {

error cannot_resume(std::string_view cause) {
  return error(pipeline_errc::cannot_resume, severity::permanent)
      .cause(cause)
      .remedy("dump it from the beginning (without --resume)");
}

// What an interrupted dump says of itself, and how much of it the store holds.
struct interrupted_state {
  manifest_header header;  // with the comments behind the digests
  block_count held;        // from the first on
};

std::string const* comment_of(manifest_header const& header, std::string_view key) {
  for (auto const& [name, value] : header.extra) {
    if (name == key) return &value;
  }
  return nullptr;
}

bad_range_message bad_range_of(std::string const& text) {
  bad_range_message bad;
  auto const* const end = text.data() + text.size();
  auto const [space, failed] = std::from_chars(text.data(), end, bad.offset_bytes);
  if (failed == std::errc() && space != end) {
    auto const [rest, failed_too] = std::from_chars(space + 1, end, bad.length_bytes);
    if (failed_too == std::errc() && rest == end) return bad;
  }
  throw cannot_resume(format("\"{}\" is no range that could not be read", printable(text, 80)));
}

// One look-up's worth of digests; false at the first block that the store lacks, or at the end.
class held_prefix {
 public:
  held_prefix(manifest_reader& from, block_store& store) : from_(from), store_(store) {}

  bool step() {
    std::vector<block_id> ids;
    while (ids.size() < limits::resume_blocks_per_lookup) {
      auto const id = from_.next();
      if (!id) break;
      ids.push_back(*id);
    }
    if (ids.empty()) return false;
    if (broken_) return true;  // read on for what stands behind the digests
    auto const missing = store_.missing(ids);
    for (std::size_t i = 0; i < ids.size() && !broken_; ++i) {
      broken_ = missing[i];
      if (!broken_) ++held_;
    }
    return true;
  }
  [[nodiscard]] block_count held() const noexcept { return held_; }

 private:
  manifest_reader& from_;
  block_store& store_;
  block_count held_;
  bool broken_ = false;
};

task<interrupted_state> examine(dump_context& context, manifest_reader& from) {
  held_prefix prefix(from, context.store);
  // A look-up at a time, so that it stays cancellable.
  while (co_await offload(context.writers, [&] { return prefix.step(); })) {
  }
  co_return interrupted_state{from.header(), prefix.held()};
}

void check(target_plan const& plan, manifest_header const& header) {
  if (header.source != plan.source) {
    throw cannot_resume(format("it is of {}", printable(header.source)));
  }
  if (header.geometry.block_bytes != plan.start.block_bytes) {
    throw cannot_resume(format("its blocks have {} bytes, not {}", header.geometry.block_bytes,
                               plan.start.block_bytes));
  }
  if (comment_of(header, identity_key) == nullptr) {
    throw cannot_resume("the file that it left is not whole");
  }
}

task<> copy_digests(dump_context& context, std::string const& name, manifest_writer& to,
                    block_count blocks) {
  auto from = open_interrupted(context.base, name, context.store);
  if (!from) throw cannot_resume("another run has taken it up just now");
  while (blocks.value > 0) {
    auto const part = std::min(blocks.value, limits::manifest_lines_per_hop);
    co_await offload(context.writers, [&] {
      for (std::uint64_t i = 0; i < part; ++i) {
        auto const id = from->next();
        if (!id) throw cannot_resume("another run has taken it up just now");
        to.add(*id);
      }
    });
    blocks.value -= part;
  }
}

manifest_header header_of_continued(dump_context& context, target_plan const& plan,
                                    interrupted_state const& state) {
  manifest_header header{.source = plan.source,
                         .date = iso_time(plan.date.value_or(context.timers.clock().wall_now())),
                         .geometry = state.header.geometry,
                         .extra = {}};
  for (auto const& [key, value] : state.header.extra) {
    if (key == resumed_key) header.extra.emplace_back(key, value);
  }
  header.extra.emplace_back(
      resumed_key, format("the dump of {}, from block {} on", state.header.date, state.held.value));
  return header;
}

}  // namespace

task<std::uint64_t> keep_interrupted(dump_context& context, target_plan const& plan,
                                     image_ledger& ledger) {
  auto const known = ledger.frontier();
  if (!ledger.source || !ledger.manifest || known.value == 0) co_return 0;
  co_await offload(context.writers, [&] {
    auto& manifest = *ledger.manifest;
    // The last attempt may have ended before it took back what the one before it had announced; of
    // that the bad ranges are forgotten.
    ledger.take_back_unannounced();
    manifest.end_lists();
    // From here on a later run finds in the index what this one had stored.
    context.store.barrier();
    ledger.tell_bad_ranges();
    manifest.comment(identity_key, ledger.source->identity);
    manifest.keep_interrupted();
  });
  block_geometry const geometry{ledger.source->image_bytes, plan.start.block_bytes};
  co_return std::min(geometry.offset_bytes(known), geometry.image_bytes);
}

task<bool> take_up_interrupted(dump_context& context, target_plan const& plan,
                               image_ledger& ledger) {
  std::optional<manifest_reader> from;
  std::optional<interrupted_state> state;
  try {
    from = co_await offload(context.writers, [&] {
      return open_interrupted(context.base, plan.manifest_name, context.store);
    });
    if (!from) co_return false;
    state = co_await examine(context, *from);
  } catch (error const& failure) {
    if (failure.kind() != severity::corruption) throw;
    throw cannot_resume(failure.what());
  }
  check(plan, state->header);
  if (state->held.value == 0) co_return false;
  auto header = header_of_continued(context, plan, *state);
  co_await offload(context.writers, [&] {
    ledger.manifest.emplace(context.base, plan.manifest_name, std::move(header), context.store);
  });
  co_await copy_digests(context, plan.manifest_name, *ledger.manifest, state->held);
  ledger.take_up({.image_bytes = state->header.geometry.image_bytes,
                  .identity = *comment_of(state->header, identity_key)},
                 state->held);
  for (auto const& [key, value] : state->header.extra) {
    if (key == bad_range_key) ledger.add(bad_range_of(value));
  }
  // What lies behind the last block that is held is told again.
  ledger.begin_attempt();
  co_return true;
}

}  // namespace diskdump
