#include "agent/send.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "async/scope.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"

namespace diskdump {

unsigned send_lanes(unsigned threads, std::uint32_t block_bytes) noexcept {
  auto const each = lz4_frame_bytes_max(block_bytes) + limits::compressor_state_bytes;
  auto const fitting = limits::compress_memory_bytes_max / each;
  return static_cast<unsigned>(std::clamp<std::size_t>(fitting, 1, threads + 1));
}

namespace {

struct send_stage_state {
  worker_pool& workers;
  std::uint32_t block_bytes;
  codec_policy const& policy;
  hold& held;
  output& out;
};

// Compresses one block in its slot. On a worker thread.
void pack(codec_policy policy, block_compressor& compressor, byte_span scratch,
          ready_block& block) {
  auto const raw = byte_view(block.slot.bytes().first(block.header.raw_bytes));
  std::size_t packed_bytes = raw.size();
  auto codec = block_codec::raw;
  if (policy == codec_policy::lz4) {
    packed_bytes = compressor.lz4_frame(raw, scratch);
    codec = block_codec::lz4;
  } else if (policy == codec_policy::zlib) {
    // One byte short of the block: what does not fit has not shrunk.
    auto const fitted = compressor.zlib(raw, scratch.first(raw.size() - 1));
    if (!fitted) return;
    packed_bytes = *fitted;
    codec = block_codec::zlib;
  }
  if (packed_bytes >= raw.size()) return;
  std::memcpy(block.slot.bytes().data(), scratch.data(), packed_bytes);
  block.header.codec = codec;
  block.payload_bytes = static_cast<std::uint32_t>(packed_bytes);
}

task<> send_lane(send_stage_state& stage) {
  block_compressor compressor;
  byte_vector scratch;
  auto const blocks_max = std::max<std::size_t>(1, limits::compress_hop_bytes / stage.block_bytes);
  for (;;) {
    auto needed = co_await stage.held.take_needed(blocks_max);
    if (needed.empty()) co_return;
    std::vector<ready_block> ready;
    ready.reserve(needed.size());
    for (auto& block : needed) {
      ready.push_back({{block.index, block_codec::raw, block.length_bytes},
                       block.length_bytes,
                       std::move(block.slot)});
    }
    auto const policy = stage.policy;
    if (policy != codec_policy::none) {
      co_await offload(stage.workers, [&] {
        // The first use is here, so that a lane that never compresses has no scratch.
        scratch.resize(lz4_frame_bytes_max(stage.block_bytes));
        for (auto& block : ready) pack(policy, compressor, scratch, block);
      });
    }
    co_await stage.out.write(std::move(ready));
  }
}

}  // namespace

task<> send_stage(worker_pool& workers, std::uint32_t block_bytes, codec_policy const& policy,
                  hold& held, output& out) {
  send_stage_state stage{workers, block_bytes, policy, held, out};
  auto const count = send_lanes(workers.threads(), block_bytes);
  co_await with_scope([&](scope& lanes) {
    for (unsigned i = 0; i < count; ++i) lanes.spawn(send_lane(stage));
  });
}

}  // namespace diskdump
