// Stage verify. Takes: blocks as they crossed the wire. Gives: jobs, in the same order, whose
// result is the same blocks as LZ4 frames whose content has the announced digest. Nothing that
// fails this check can reach the store: a hostile target cannot poison a block that others share.
#include "base/assert.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"
#include "pipeline/target_run.hpp"

namespace diskdump {

namespace {

// What a worker thread keeps between blocks: two buffers and the codec contexts.
struct worker_tools {
  block_decompressor decompressor;
  block_compressor compressor;
  byte_vector raw;
  byte_vector frame;
};

void verify(block_in_flight& one, std::uint64_t offset_bytes) {
  auto& block = one.block;
  thread_local worker_tools tools;
  tools.raw.resize(block.raw_bytes);
  try {
    tools.decompressor.decompress(block.codec, block.payload, tools.raw);
  } catch (error& e) {
    throw e.offset(offset_bytes);
  }
  if (sha256(tools.raw) != block.id) {
    throw error(wire_errc::digest_mismatch, severity::corruption)
        .offset(offset_bytes)
        .cause("announced as " + block.id.hex())
        .remedy("check the target's memory and the agent; nothing of this block was stored");
  }
  // A frame that arrives as the store writes it is kept as it is.
  if (block.codec == block_codec::lz4) return;
  tools.frame.resize(lz4_frame_bytes_max(block.raw_bytes));
  auto const n = tools.compressor.lz4_frame(tools.raw, tools.frame);
  block.payload = {};  // not both at the same time
  block.payload.assign(tools.frame.begin(), tools.frame.begin() + static_cast<std::ptrdiff_t>(n));
  block.codec = block_codec::lz4;
  DISKDUMP_ASSERT(block.payload.size() <= one.lease.bytes());
}

}  // namespace

task<> verify_stage(target_run& run, receiver<block_in_flight> blocks,
                    sender<job<block_batch>> verified) {
  auto const executor = run.context.executor;
  auto* const times = run.context.times;
  while (auto first = co_await blocks.receive()) {
    auto const geometry = run.session.geometry();
    block_batch batch;
    std::size_t batch_bytes = first->block.raw_bytes;
    batch.push_back(std::move(*first));
    while (batch_bytes < limits::verify_bytes_per_hop &&
           batch.size() < limits::verify_blocks_per_hop) {
      auto more = blocks.try_receive();
      if (!more) break;
      batch_bytes += more->block.raw_bytes;
      batch.push_back(std::move(*more));
    }
    co_await verified.send(
        launch(run.context.workers, executor,
               [times, batch_bytes, batch = std::move(batch), geometry]() mutable {
                 stage_timer busy(times, stage::verify);
                 for (auto& b : batch) verify(b, geometry.offset_bytes(b.block.index));
                 busy.count(batch_bytes);
                 return std::move(batch);
               }));
  }
  verified.finish();
}

}  // namespace diskdump
