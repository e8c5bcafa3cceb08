// Stage verify. Takes: blocks as they crossed the wire. Gives: jobs, in the same order, whose
// result is the same blocks as LZ4 frames whose content has the announced digest. Nothing that
// fails this check can reach the store: a hostile target cannot poison a block that others share.
#include <array>
#include <span>

#include "base/assert.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"
#include "pipeline/target_run.hpp"

namespace diskdump {

namespace {

// What a worker thread keeps between blocks: buffers and the codec contexts.
struct worker_tools {
  block_decompressor decompressor;
  block_compressor compressor;
  // Of one block, or of several that are small enough together.
  byte_vector raw;
  byte_vector frame;
};

void check_digest(block_id const& found, block_id const& announced, std::uint64_t offset_bytes) {
  if (found == announced) return;
  throw error(wire_errc::digest_mismatch, severity::corruption)
      .offset(offset_bytes)
      .cause("announced as " + announced.hex())
      .remedy("check the target's memory and the agent; nothing of this block was stored");
}

// A frame that arrives as the store writes it is kept as it is.
void make_frame(block_in_flight& one, byte_view raw, worker_tools& tools) {
  auto& block = one.block;
  if (block.codec == block_codec::lz4) return;
  tools.frame.resize(lz4_frame_bytes_max(block.raw_bytes));
  auto const n = tools.compressor.lz4_frame(raw, tools.frame);
  free_memory(block.payload);  // not both at the same time
  block.payload.assign(tools.frame.begin(), tools.frame.begin() + static_cast<std::ptrdiff_t>(n));
  block.codec = block_codec::lz4;
  DISKDUMP_ASSERT(block.payload.size() <= one.lease.bytes());
}

// So many from the first on as are hashed at once: limits::digest_together_bytes, or one block.
std::size_t together(std::span<block_in_flight const> blocks) {
  std::size_t count = 1;
  std::size_t bytes = blocks[0].block.raw_bytes;
  while (count < blocks.size() && count < sha256_at_once) {
    bytes += blocks[count].block.raw_bytes;
    if (bytes > limits::digest_together_bytes) break;
    ++count;
  }
  return count;
}

void verify(std::span<block_in_flight> blocks, block_geometry const& geometry) {
  thread_local worker_tools tools;
  while (!blocks.empty()) {
    auto const some = blocks.first(together(blocks));
    std::array<byte_view, sha256_at_once> contents;
    std::array<block_id, sha256_at_once> digests;
    std::size_t bytes = 0;
    for (auto const& one : some) bytes += one.block.raw_bytes;
    tools.raw.resize(bytes);
    auto room = byte_span(tools.raw);
    for (std::size_t i = 0; i < some.size(); ++i) {
      auto const& block = some[i].block;
      auto const raw = room.first(block.raw_bytes);
      try {
        tools.decompressor.decompress(block.codec, block.payload, raw);
      } catch (error& e) {
        throw e.offset(geometry.offset_bytes(block.index));
      }
      contents[i] = raw;
      room = room.subspan(raw.size());
    }
    sha256_each(std::span(contents).first(some.size()), std::span(digests).first(some.size()));
    for (std::size_t i = 0; i < some.size(); ++i) {
      check_digest(digests[i], some[i].block.id, geometry.offset_bytes(some[i].block.index));
      make_frame(some[i], contents[i], tools);
    }
    blocks = blocks.subspan(some.size());
  }
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
                 verify(batch, geometry);
                 busy.count(batch_bytes);
                 return std::move(batch);
               }));
  }
  verified.finish();
}

}  // namespace diskdump
