#include "io/fault_disk.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "io/io_errc.hpp"

namespace diskdump {

fault_disk::fault_disk(asio::any_io_executor executor, std::unique_ptr<disk> inner)
    : executor_(std::move(executor)), inner_(std::move(inner)) {}

fault_disk::~fault_disk() { DISKDUMP_ASSERT(held_.empty()); }

void fault_disk::fail_reads(std::uint64_t offset_bytes, std::uint64_t length_bytes,
                            int errno_value) {
  bad_reads_.push_back({offset_bytes, offset_bytes + length_bytes, errno_value});
}

void fault_disk::fail_writes(std::uint64_t offset_bytes, std::uint64_t length_bytes,
                             int errno_value) {
  bad_writes_.push_back({offset_bytes, offset_bytes + length_bytes, errno_value});
}

void fault_disk::fail_writes_after(std::uint64_t bytes, int errno_value) {
  writable_bytes_ = bytes;
  full_errno_ = errno_value;
}

void fault_disk::fail_syncs(int errno_value) { sync_errno_ = errno_value; }

void fault_disk::heal() {
  bad_reads_.clear();
  bad_writes_.clear();
  writable_bytes_.reset();
  sync_errno_ = 0;
}

void fault_disk::shrink(std::uint64_t size_bytes) { end_bytes_ = size_bytes; }

void fault_disk::hold(bool on) { holding_ = on; }

void fault_disk::release(std::size_t position) {
  DISKDUMP_ASSERT(position < held_.size());
  auto* const request = held_[position];
  held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(position));
  request->go = true;
  request->released.wake_one();
}

void fault_disk::release_all() {
  while (!held_.empty()) release();
}

task<> fault_disk::gate() {
  if (!holding_) co_return;
  held_request mine(executor_);
  struct place {
    std::deque<held_request*>& all;
    held_request& mine;
    ~place() {
      if (!mine.go) all.erase(std::find(all.begin(), all.end(), &mine));
    }
  } const waiting{held_, mine};
  held_.push_back(&mine);
  while (!mine.go) co_await mine.released.wait();
}

void fault_disk::throw_if_bad(std::vector<bad_range> const& ranges, std::uint64_t offset_bytes,
                              std::uint64_t length_bytes, bool writing) {
  bad_range const* first = nullptr;
  for (auto const& r : ranges) {
    bool const touched = r.first < offset_bytes + length_bytes && offset_bytes < r.end;
    if (touched && (first == nullptr || r.first < first->first)) first = &r;
  }
  if (first == nullptr) return;
  throw disk_error(first->errno_value, writing ? io_direction::write : io_direction::read,
                   writing ? "write" : "read", "fault_disk")
      .offset(std::max(first->first, offset_bytes));
}

task<std::size_t> fault_disk::read(std::uint64_t offset_bytes, std::span<byte_span const> buffers) {
  ++reads_;
  co_await gate();
  std::uint64_t length_bytes = 0;
  for (auto const& b : buffers) length_bytes += b.size();
  auto const end = std::min(properties().size_bytes, end_bytes_.value_or(UINT64_MAX));
  auto const visible =
      offset_bytes < end ? std::min<std::uint64_t>(length_bytes, end - offset_bytes) : 0;
  throw_if_bad(bad_reads_, offset_bytes, visible, false);
  auto const n = co_await inner_->read(offset_bytes, buffers);
  co_return static_cast<std::size_t>(std::min<std::uint64_t>(n, visible));
}

// Keeps what a write is about to replace. In order of the calls: overlapping writes in flight are
// undone newest first, which is right because the inner disk is asked in the same order.
task<> fault_disk::remember(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  byte_vector old(static_cast<std::size_t>(length_bytes));
  byte_span const whole(old);
  auto const n = co_await inner_->read(offset_bytes, std::span(&whole, 1));
  old.resize(n);
  undo_.push_back({offset_bytes, std::move(old)});
}

task<> fault_disk::write(std::uint64_t offset_bytes, byte_view bytes) {
  co_await gate();
  throw_if_bad(bad_writes_, offset_bytes, bytes.size(), true);
  if (writable_bytes_) {
    if (bytes.size() > *writable_bytes_) {
      throw disk_error(full_errno_, io_direction::write, "write", "fault_disk")
          .offset(offset_bytes);
    }
    *writable_bytes_ -= bytes.size();
  }
  co_await remember(offset_bytes, bytes.size());
  co_await inner_->write(offset_bytes, bytes);
  bytes_written_ += bytes.size();
}

task<bool> fault_disk::write_zeros(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  co_await gate();
  throw_if_bad(bad_writes_, offset_bytes, length_bytes, true);
  co_await remember(offset_bytes, length_bytes);
  co_return co_await inner_->write_zeros(offset_bytes, length_bytes);
}

data_range fault_disk::next_data(std::uint64_t offset_bytes) {
  return inner_->next_data(offset_bytes);
}

task<> fault_disk::sync() {
  co_await gate();
  if (sync_errno_ != 0) {
    throw disk_error(sync_errno_, io_direction::write, "fdatasync", "fault_disk");
  }
  // What is written while the sync runs may or may not be covered: it stays on the list.
  auto const covered = undo_.size();
  co_await inner_->sync();
  undo_.erase(undo_.begin(), undo_.begin() + static_cast<std::ptrdiff_t>(covered));
}

task<> fault_disk::power_cut() {
  while (!undo_.empty()) {
    auto const last = std::move(undo_.back());
    undo_.pop_back();
    co_await inner_->write(last.offset_bytes, last.bytes);
  }
}

}  // namespace diskdump
