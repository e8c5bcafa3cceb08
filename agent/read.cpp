#include "agent/read.hpp"

#include <algorithm>
#include <array>

#include "agent/agent_errc.hpp"
#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"

namespace diskdump {

std::uint32_t request_blocks_max(std::uint32_t block_bytes, std::uint32_t batch_blocks) noexcept {
  auto const by_bytes = limits::read_bytes_max / block_bytes;
  auto const blocks =
      std::min<std::size_t>({by_bytes, limits::read_buffers_max, batch_blocks / 4u});
  return static_cast<std::uint32_t>(std::max<std::size_t>(1, blocks));
}

image_reader::image_reader(asio::any_io_executor executor, disk& source, buffer_pool& slots,
                           rate_limiter& limiter, read_settings settings)
    : executor_(std::move(executor)),
      source_(source),
      slots_(slots),
      limiter_(limiter),
      settings_(settings),
      turns_(executor_) {}

task<> image_reader::run(sender<read_group> out) {
  out_ = std::move(out);
  auto plans = make_channel<read_group>(executor_, 1);
  plans_ = std::move(plans.second);
  co_await with_scope([&](scope& children) {
    children.spawn(plan(std::move(plans.first)));
    for (std::size_t i = 0; i < limits::reads_in_flight_max; ++i) children.spawn(lane());
  });
  out_.finish();
}

// ---- Planning: what is read next, and into which slots ------------------------------------------

task<> image_reader::plan(sender<read_group> out) {
  auto const end = block_index{settings_.geometry.blocks().value};
  auto const block_bytes = settings_.geometry.block_bytes;
  for (auto at = settings_.first_block; at < end;) {
    auto const offset = settings_.geometry.offset_bytes(at);
    auto const data = source_.next_data(offset);
    bool const none = data.length_bytes == 0 || data.offset_bytes >= settings_.geometry.image_bytes;
    // A block is a hole only as a whole; an extent begins and ends with whole blocks.
    auto const data_begin = none ? end : std::max(at, block_index{data.offset_bytes / block_bytes});
    if (none) co_await check_not_shorter();
    while (at < data_begin) {
      read_group hole;
      hole.ticket = next_ticket_++;
      hole.first = at;
      // As much as one message may carry, so that a very long hole is announced bit by bit.
      hole.hole = block_count{std::min((data_begin - at).value, limits::digests_blocks_max)};
      at += hole.hole;
      co_await out.send(std::move(hole));
    }
    if (none) break;
    auto const data_end_bytes = data.offset_bytes + data.length_bytes;
    auto const data_end =
        block_index{data_end_bytes / block_bytes + (data_end_bytes % block_bytes != 0 ? 1 : 0)};
    at = co_await plan_extent(out, at, std::min(data_end, end));
  }
  out.finish();
}

task<block_index> image_reader::plan_extent(sender<read_group>& out, block_index from,
                                            block_index end) {
  std::uint64_t const request_max =
      request_blocks_max(settings_.geometry.block_bytes, settings_.batch_blocks);
  while (from < end) {
    // Asked each time, since the rate may change on the way.
    auto const blocks_max = std::clamp<std::uint64_t>(
        limiter_.piece_bytes_max() / settings_.geometry.block_bytes, 1, request_max);
    read_group group;
    auto const wanted = std::min((end - from).value, blocks_max);
    group.slots.reserve(wanted);
    group.slots.push_back(co_await slots_.acquire());
    while (group.slots.size() < wanted) {
      auto slot = slots_.try_acquire();
      if (!slot) break;
      group.slots.push_back(std::move(slot));
    }
    group.ticket = next_ticket_++;
    group.first = from;
    from += block_count{group.slots.size()};
    co_await limiter_.take(end_bytes(from) - settings_.geometry.offset_bytes(group.first));
    co_await out.send(std::move(group));
  }
  co_return from;
}

task<bool> image_reader::ends_before(std::uint64_t offset_bytes) {
  std::array<std::byte, 1> byte{};
  std::array<byte_span, 1> const buffers{byte};
  auto const got = co_await source_.read(offset_bytes, buffers);
  co_return got == 0;
}

// A file that was cut looks like one with a hole up to its end; the last byte tells them apart.
task<> image_reader::check_not_shorter() {
  if (source_.properties().block_device || settings_.geometry.image_bytes == 0) co_return;
  bool const shorter = co_await ends_before(settings_.geometry.image_bytes - 1);
  if (shorter) co_await throw_shrank(settings_.geometry.image_bytes - 1);
}

// A short read proves that the source ends there or earlier; where it ends is found by halving.
task<> image_reader::throw_shrank(std::uint64_t end_bytes_max) {
  std::uint64_t low = source_.properties().block_device ? end_bytes_max : 0;
  for (std::uint64_t high = end_bytes_max; low < high;) {
    auto const middle = low + (high - low) / 2;
    bool const before = co_await ends_before(middle);
    if (before) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  throw error(agent_errc::source_shrank, severity::permanent)
      .offset(low)
      .cause(format("it ends at byte {} instead of {}", low, settings_.geometry.image_bytes));
}

// ---- Reading: several lanes, each with one request in flight ------------------------------------

task<> image_reader::lane() {
  while (auto group = co_await plans_.receive()) {
    std::exception_ptr failure;
    try {
      if (!group->slots.empty()) co_await fill(*group);
    } catch (error const&) {
      failure = std::current_exception();
    }
    // Also a failure waits for its turn, so that the first in the image is the one that is told.
    co_await turns_.wait(group->ticket);
    if (failure) co_await refine(failure);
    if (!group->bad.empty() && !settings_.skip_bad_sectors) throw_bad_sectors(*group);
    co_await out_.send(std::move(*group));
    turns_.next();
  }
}

// Rethrows; a source that shrank is asked where it ends now.
task<> image_reader::refine(std::exception_ptr failure) {
  std::optional<std::uint64_t> end;
  try {
    std::rethrow_exception(failure);
  } catch (error const& e) {
    if (e.code() != agent_errc::source_shrank) throw;
    end = e.offset();
  }
  co_await throw_shrank(end.value_or(settings_.geometry.image_bytes));
}

void image_reader::throw_bad_sectors(read_group const& group) {
  std::string where;
  for (auto const& range : group.bad) {
    where += format("{}{}+{}", where.empty() ? "" : ", ", range.offset_bytes, range.length_bytes);
    if (where.size() > limits::note_bytes_max / 2) break;
  }
  throw error(agent_errc::bad_sectors, severity::permanent)
      .offset(group.bad.front().offset_bytes)
      .cause(format("bytes {}", where))
      .remedy("use --skip-bad-sectors");
}

std::uint64_t image_reader::end_bytes(block_index end) const noexcept {
  return std::min(settings_.geometry.offset_bytes(end), settings_.geometry.image_bytes);
}

task<> image_reader::fill(read_group& group) {
  auto const& geometry = settings_.geometry;
  auto const begin = geometry.offset_bytes(group.first);
  auto const wanted = end_bytes(group.first + block_count{group.slots.size()}) - begin;
  read_bytes_ += wanted;
  if (geometry.block_bytes > limits::read_bytes_max) {
    co_await fill_large_block(group);
    co_return;
  }
  // A disk that asks for alignment gets whole units; the slot has room for them, and what it
  // reads beyond the last block is nothing.
  std::uint64_t const unit = source_.properties().alignment_bytes;
  std::array<byte_span, limits::read_buffers_max> buffers;
  for (std::size_t i = 0; i < group.slots.size(); ++i) buffers[i] = group.slots[i].bytes();
  auto& last = buffers[group.slots.size() - 1];
  auto const last_bytes = wanted - (group.slots.size() - 1) * std::uint64_t{geometry.block_bytes};
  last = last.first((last_bytes + unit - 1) / unit * unit);
  co_await read_or_zero(source_, begin, std::span(buffers).first(group.slots.size()), wanted,
                        group.bad);
}

// One block in several requests, one after the other; other lanes read other blocks meanwhile.
task<> image_reader::fill_large_block(read_group& group) {
  auto const begin = settings_.geometry.offset_bytes(group.first);
  auto const length = settings_.geometry.length_bytes(group.first);
  std::uint64_t const unit = source_.properties().alignment_bytes;
  auto const slot = group.slots.front().bytes();
  for (std::uint64_t from = 0; from < length; from += limits::read_bytes_max) {
    auto const wanted = std::min<std::uint64_t>(limits::read_bytes_max, length - from);
    std::array<byte_span, 1> const buffers{slot.subspan(from, (wanted + unit - 1) / unit * unit)};
    co_await read_or_zero(source_, begin + from, buffers, wanted, group.bad);
  }
}

}  // namespace diskdump
