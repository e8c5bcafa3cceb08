#include "io/memory_disk.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/limits.hpp"
#include "io/io_errc.hpp"

namespace diskdump {

namespace {

constexpr std::size_t page_bytes = 4096;

// A real disk never resumes inside the call, and lets go of the buffers before it throws.
task<> turn() {
  co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) {
    throw std::system_error(asio::error::make_error_code(asio::error::operation_aborted));
  }
}

}  // namespace

memory_disk::memory_disk(byte_vector content, disk_properties shape)
    : content_(std::move(content)), properties_(std::move(shape)) {
  properties_.size_bytes = content_.size();
  properties_.engine = disk_engine::test;
}

void memory_disk::check_range(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
  DISKDUMP_ASSERT(offset_bytes % properties_.alignment_bytes == 0);
  DISKDUMP_ASSERT(length_bytes % properties_.alignment_bytes == 0);
  if (offset_bytes > content_.size() || length_bytes > content_.size() - offset_bytes) {
    throw error(io_errc::out_of_range, severity::permanent).path("memory").offset(offset_bytes);
  }
}

task<std::size_t> memory_disk::read(std::uint64_t offset_bytes,
                                    std::span<byte_span const> buffers) {
  DISKDUMP_ASSERT(buffers.size() <= limits::disk_buffers_max);
  DISKDUMP_ASSERT(offset_bytes % properties_.alignment_bytes == 0);
  co_await turn();
  std::size_t done = 0;
  for (auto const& b : buffers) {
    DISKDUMP_ASSERT(b.size() % properties_.alignment_bytes == 0);
    auto const at = std::min<std::uint64_t>(offset_bytes + done, content_.size());
    auto const n = std::min<std::size_t>(b.size(), content_.size() - at);
    std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(at), n, b.begin());
    done += n;
  }
  co_return done;
}

task<> memory_disk::write(std::uint64_t offset_bytes, byte_view bytes) {
  check_range(offset_bytes, bytes.size());
  co_await turn();
  std::copy(bytes.begin(), bytes.end(),
            content_.begin() + static_cast<std::ptrdiff_t>(offset_bytes));
}

task<bool> memory_disk::write_zeros(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  check_range(offset_bytes, length_bytes);
  co_await turn();
  std::fill_n(content_.begin() + static_cast<std::ptrdiff_t>(offset_bytes), length_bytes,
              std::byte{0});
  co_return true;
}

data_range memory_disk::next_data(std::uint64_t offset_bytes) {
  auto const is_hole = [this](std::size_t page_at) {
    auto const end = std::min(page_at + page_bytes, content_.size());
    return std::all_of(content_.begin() + static_cast<std::ptrdiff_t>(page_at),
                       content_.begin() + static_cast<std::ptrdiff_t>(end),
                       [](std::byte b) { return b == std::byte{0}; });
  };
  auto first = static_cast<std::size_t>(offset_bytes);
  while (first < content_.size() && is_hole(first / page_bytes * page_bytes)) {
    first = (first / page_bytes + 1) * page_bytes;
  }
  if (first >= content_.size()) return {offset_bytes, 0};
  auto end = first;
  while (end < content_.size() && !is_hole(end / page_bytes * page_bytes)) {
    end = (end / page_bytes + 1) * page_bytes;
  }
  return {first, std::min(end, content_.size()) - first};
}

task<> memory_disk::sync() { co_await turn(); }

}  // namespace diskdump
