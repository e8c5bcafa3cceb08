#include "pipeline/manifest_room.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "pipeline/dump.hpp"

namespace diskdump {

manifest_room::manifest_room(asio::any_io_executor executor, worker_pool& writers, free_bytes look)
    : executor_(executor), writers_(writers), look_(std::move(look)), gone_(executor) {
  auto const free = look_();
  if (!free) return;
  bounded_ = true;
  free_at_first_ = free_ = *free;
  reserve_ = std::min(limits::manifest_reserve_bytes_max, *free / limits::manifest_reserve_part);
  step_ = reserve_ / limits::manifest_reserve_steps;
  taken_ = step_;
}

manifest_room::~manifest_room() { DISKDUMP_ASSERT(shares_.empty()); }

error manifest_room::share::no_room() const {
  return error(pipeline_errc::no_room_for_manifest, severity::permanent)
      .cause(format("it has {} bytes already, more than any other that is being written, and they "
                    "have left {} bytes free",
                    bytes_, room_.free_))
      .remedy("free space, or use a larger --block-size; is the disk as large as its target says?");
}

bool manifest_room::enough_as_looked(std::uint64_t bytes) {
  if (taken_ + bytes > step_ || free_ < reserve_) return false;
  taken_ += bytes;
  return true;
}

manifest_room::finding manifest_room::judge(share& who, std::uint64_t free) {
  free_ = free;
  taken_ = 0;
  if (free >= reserve_) coming_back_ = 0;
  if (free + coming_back_ >= reserve_) return finding::enough;
  auto written = kept_;
  share* largest = nullptr;
  bool one_is_going = false;
  for (auto* const s : shares_) {
    written += s->bytes_;
    if (!s->at_work_) continue;
    if (s->given_up_) one_is_going = true;
    if (!s->given_up_ && (largest == nullptr || s->bytes_ > largest->bytes_)) largest = s;
  }
  if (one_is_going) return finding::wait;
  auto const used = free_at_first_ - std::min(free_at_first_, free);
  if (written < used / limits::manifest_share_part) return finding::enough;
  if (largest == nullptr || largest->bytes_ < step_) return finding::enough;
  largest->given_up_ = true;
  largest->told_.wake_all();
  return largest == &who ? finding::give_up : finding::wait;
}

manifest_room::share::share(manifest_room& room) : room_(room), told_(room.executor_) {
  room_.shares_.push_back(this);
}

manifest_room::share::~share() {
  pause();
  std::erase(room_.shares_, this);
  if (kept_) room_.kept_ += bytes_;
}

void manifest_room::share::restart(std::uint64_t bytes) {
  bytes_ = bytes;
  at_work_ = true;
}

void manifest_room::share::pause() {
  at_work_ = false;
  if (given_up_) room_.gone_.wake_all();
}

void manifest_room::share::removed() {
  room_.coming_back_ += std::exchange(bytes_, 0);
  pause();
}

task<> manifest_room::share::take(std::uint64_t bytes) {
  while (room_.bounded_) {
    if (given_up_) throw no_room();
    if (room_.enough_as_looked(bytes)) break;
    auto const free = co_await offload(room_.writers_, room_.look_);
    if (!free) break;
    auto const found = room_.judge(*this, *free);
    if (found == finding::enough) {
      room_.taken_ += bytes;
      break;
    }
    if (found == finding::wait) co_await room_.gone_.wait();
  }
  bytes_ += bytes;
  room_.coming_back_ -= std::min(room_.coming_back_, bytes);
}

task<> manifest_room::share::watch() {
  while (!given_up_) co_await told_.wait();
  throw no_room();
}

}  // namespace diskdump
