#include "agent/hold.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"

namespace diskdump {

hold::hold(asio::any_io_executor executor, std::uint32_t batch_blocks)
    : changed_(std::move(executor)) {
  held_.reserve(batch_blocks);
}

void hold::add(held_block block) {
  DISKDUMP_ASSERT(!closed_);
  auto const index = block.index.value;
  bool const added = held_.emplace(index, std::move(block)).second;
  DISKDUMP_ASSERT(added);
}

void hold::apply(block_verdict const& said) {
  auto const at = held_.find(said.index.value);
  DISKDUMP_ASSERT(at != held_.end());
  switch (said.outcome) {
    case verdict::have:
      held_.erase(at);
      if (closed_ && held_.empty()) changed_.wake_all();
      break;
    case verdict::need:
      needed_.push_back(std::move(at->second));
      held_.erase(at);
      changed_.wake_one();
      if (closed_ && held_.empty()) changed_.wake_all();
      break;
    case verdict::wait:
      break;
  }
}

void hold::close() {
  closed_ = true;
  changed_.wake_all();
}

task<std::vector<held_block>> hold::take_needed(std::size_t blocks_max) {
  while (needed_.empty() && !(closed_ && held_.empty())) co_await changed_.wait();
  std::vector<held_block> taken;
  auto const count = std::min(blocks_max, needed_.size());
  taken.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    taken.push_back(std::move(needed_.front()));
    needed_.pop_front();
  }
  co_return taken;
}

}  // namespace diskdump
