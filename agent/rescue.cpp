#include "agent/rescue.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "agent/agent_errc.hpp"
#include "base/format.hpp"
#include "io/io_errc.hpp"

namespace diskdump {

void add_bad_range(std::vector<bad_range>& ranges, bad_range added) {
  if (!ranges.empty() &&
      ranges.back().offset_bytes + ranges.back().length_bytes == added.offset_bytes) {
    ranges.back().length_bytes += added.length_bytes;
  } else {
    ranges.push_back(added);
  }
}

namespace {

struct outcome {
  std::size_t got_bytes = 0;
  bool unreadable = false;
};

// A failure of the medium is an outcome here; every other one is thrown.
task<outcome> try_read(disk& source, std::uint64_t offset_bytes,
                       std::span<byte_span const> buffers) {
  std::optional<error> failure;
  try {
    auto const got = co_await source.read(offset_bytes, buffers);
    co_return outcome{got, false};
  } catch (error const& e) {
    if (is_medium_error(e)) co_return outcome{0, true};
    failure = e;
  }
  throw error(agent_errc::read_failed, severity::permanent)
      .path(failure->path())
      .offset(offset_bytes)
      .cause(format("{}: {}", failure->code().message(), failure->cause()));
}

[[nodiscard]] error shrank(std::uint64_t offset_bytes) {
  return error(agent_errc::source_shrank, severity::permanent)
      .offset(offset_bytes)
      .cause(format("it ends at byte {}", offset_bytes));
}

// The part [from, from + length) of scattered memory.
std::vector<byte_span> slice(std::span<byte_span const> buffers, std::uint64_t from,
                             std::uint64_t length) {
  std::vector<byte_span> part;
  for (auto const& buffer : buffers) {
    if (from >= buffer.size()) {
      from -= buffer.size();
      continue;
    }
    auto const taken = std::min<std::uint64_t>(buffer.size() - from, length);
    if (taken == 0) break;
    part.push_back(buffer.subspan(from, taken));
    length -= taken;
    from = 0;
  }
  return part;
}

std::uint64_t sum_bytes(std::span<byte_span const> buffers) noexcept {
  std::uint64_t sum = 0;
  for (auto const& buffer : buffers) sum += buffer.size();
  return sum;
}

struct piece {
  std::uint64_t from;  // relative to the whole request
  std::uint64_t length;
};

// The stack of halves still to be read is at most twice as deep as a request has binary digits.
task<> read_in_halves(disk& source, std::uint64_t offset_bytes, std::span<byte_span const> buffers,
                      std::uint64_t wanted_bytes, std::vector<bad_range>& bad) {
  auto const& properties = source.properties();
  std::uint64_t const sector = std::max(properties.sector_bytes, properties.alignment_bytes);
  std::vector<piece> todo{{0, sum_bytes(buffers)}};
  while (!todo.empty()) {
    auto const [from, length] = todo.back();
    todo.pop_back();
    auto const part = slice(buffers, from, length);
    auto const result = co_await try_read(source, offset_bytes + from, part);
    if (!result.unreadable) {
      auto const end = from + result.got_bytes;
      if (result.got_bytes < length && end < wanted_bytes) throw shrank(offset_bytes + end);
      continue;
    }
    // Halves meet at a sector of the disk, wherever the request began.
    auto const middle = (offset_bytes + from + length / 2) / sector * sector;
    if (length > sector && middle > offset_bytes + from) {
      auto const half = middle - offset_bytes - from;
      todo.push_back({from + half, length - half});
      todo.push_back({from, half});
      continue;
    }
    for (auto const& span : part) std::memset(span.data(), 0, span.size());
    // The last block of a device may be asked for in whole units; what lies behind it is nothing.
    if (from < wanted_bytes) {
      add_bad_range(bad, {offset_bytes + from, std::min(length, wanted_bytes - from)});
    }
  }
}

}  // namespace

task<> read_or_zero(disk& source, std::uint64_t offset_bytes, std::span<byte_span const> buffers,
                    std::uint64_t wanted_bytes, std::vector<bad_range>& bad) {
  auto const result = co_await try_read(source, offset_bytes, buffers);
  if (result.unreadable) {
    co_await read_in_halves(source, offset_bytes, buffers, wanted_bytes, bad);
  } else if (result.got_bytes < wanted_bytes) {
    throw shrank(offset_bytes + result.got_bytes);
  }
}

}  // namespace diskdump
