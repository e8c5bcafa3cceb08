#include "pipeline/restore.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "async/byte_budget.hpp"
#include "async/channel.hpp"
#include "async/scope.hpp"
#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"

namespace diskdump {

namespace {

// A run of blocks that lie side by side in the image: either all zeros, or data to be fetched.
struct piece {
  block_index first;
  std::vector<block_id> ids;  // empty for zeros
  block_count blocks;
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
};

struct plan {
  manifest_reader manifest;
  block_geometry geometry;
  block_id zero_id;
  block_index next;
  std::optional<block_id> pushed_back;

  explicit plan(manifest_reader reader)
      : manifest(std::move(reader)),
        geometry(manifest.header().geometry),
        zero_id(zero_block_id(geometry.block_bytes)) {}

  [[nodiscard]] std::optional<piece> take();
};

// Data comes in pieces of up to restore_piece_bytes, zeros in runs of any length: an image of holes
// costs a few writes. Blocking: reads the manifest.
std::optional<piece> plan::take() {
  piece p{.first = next, .ids = {}, .blocks = {}, .offset_bytes = geometry.offset_bytes(next)};
  auto const data_max =
      std::max<std::uint64_t>(1, limits::restore_piece_bytes / geometry.block_bytes);
  bool zeros = false;
  while (p.blocks.value < limits::manifest_lines_per_hop) {
    auto id = pushed_back ? std::exchange(pushed_back, std::nullopt) : manifest.next();
    if (!id) break;
    bool const zero = *id == zero_id && geometry.length_bytes(next) == geometry.block_bytes;
    if (p.blocks.value == 0) zeros = zero;
    if (zero != zeros || (!zeros && p.ids.size() >= data_max)) {
      pushed_back = id;
      break;
    }
    if (!zero) p.ids.push_back(*id);
    p.length_bytes += geometry.length_bytes(next);
    ++p.blocks;
    ++next;
  }
  if (p.blocks.value == 0) return std::nullopt;
  return p;
}

error damaged_at(block_id const& id, std::uint64_t offset_bytes, std::string_view cause) {
  return error(store_errc::damaged_block, severity::corruption)
      .path(id.hex())
      .offset(offset_bytes)
      .cause(cause)
      .remedy("run diskdump verify, then dump the source again");
}

// Decompresses one block into `room`; its content.
byte_view decompress(std::optional<byte_view> frame, block_id const& id, std::uint64_t offset_bytes,
                     byte_span room) {
  thread_local block_decompressor decompressor;
  if (!frame) {
    throw error(store_errc::missing_block, severity::corruption)
        .path(id.hex())
        .offset(offset_bytes)
        .remedy("dump the source again; diskdump verify lists what else is missing");
  }
  try {
    return room.first(decompressor.lz4_frame(*frame, room));
  } catch (error const& e) {
    throw damaged_at(id, offset_bytes, e.what());
  }
}

// Blocks that stand in their places in the image and are still to be hashed, several at once.
class placed_blocks {
 public:
  // A stored block may be longer than the image needs; its digest covers all of it.
  void add(byte_view content, block_id const& id, std::uint64_t offset_bytes,
           std::size_t needed_bytes) {
    contents_[count_] = content;
    blocks_[count_] = {id, offset_bytes, needed_bytes};
    if (++count_ == contents_.size()) check();
  }

  // Throws the first that is not what its name says.
  void check() {
    std::array<block_id, sha256_at_once> digests;
    sha256_each(std::span(contents_).first(count_), std::span(digests).first(count_));
    for (std::size_t i = 0; i < count_; ++i) {
      auto const& block = blocks_[i];
      if (digests[i] != block.id) {
        throw damaged_at(block.id, block.offset_bytes, "its content has another digest");
      }
      if (contents_[i].size() < block.needed_bytes) {
        throw damaged_at(block.id, block.offset_bytes, "it is shorter than its place in the image");
      }
    }
    count_ = 0;
  }

 private:
  struct named {
    block_id id;
    std::uint64_t offset_bytes = 0;
    std::size_t needed_bytes = 0;
  };
  std::array<byte_view, sha256_at_once> contents_;
  std::array<named, sha256_at_once> blocks_;
  std::size_t count_ = 0;
};

// The data of a piece; memory that nothing is written to before the blocks are.
struct piece_buffer {
  explicit piece_buffer(std::size_t size_bytes)
      : memory(std::make_unique_for_overwrite<std::byte[]>(size_bytes)) {}
  std::unique_ptr<std::byte[]> memory;
};

// REQUIRES: `buffer` has room for the piece. The result is a part of it.
byte_view fetch_piece(block_store& store, piece const& p, block_geometry geometry,
                      stage_times* times, piece_buffer& buffer) {
  stage_timer busy(times, stage::fetch);
  busy.count(p.length_bytes);
  byte_span const bytes(buffer.memory.get(), p.length_bytes);
  thread_local frame_batch frames;
  store.fetch(p.ids, frames);
  placed_blocks placed;
  std::size_t at = 0;
  auto index = p.first;
  for (std::size_t i = 0; i < p.ids.size(); ++i) {
    auto const length = geometry.length_bytes(index);
    auto const offset_bytes = geometry.offset_bytes(index);
    auto const place = bytes.subspan(at, length);
    // All but the last block are as long as a block can be, and go to their place at once.
    if (length == geometry.block_bytes) {
      placed.add(decompress(frames[i], p.ids[i], offset_bytes, place), p.ids[i], offset_bytes,
                 length);
    } else {
      thread_local byte_vector whole;
      whole.resize(geometry.block_bytes);
      auto const content = decompress(frames[i], p.ids[i], offset_bytes, whole);
      placed.add(content, p.ids[i], offset_bytes, length);
      placed.check();
      std::memcpy(place.data(), content.data(), length);
    }
    at += length;
    ++index;
  }
  placed.check();
  return bytes;
}

task<> write_zeros(disk& output, piece const& p) {
  // Where the system cannot zero a range by itself, zeros are written in pieces.
  if (co_await output.write_zeros(p.offset_bytes, p.length_bytes)) co_return;
  byte_vector const zeros(std::min<std::uint64_t>(p.length_bytes, limits::restore_piece_bytes));
  for (std::uint64_t done = 0; done < p.length_bytes;) {
    auto const n = std::min<std::uint64_t>(zeros.size(), p.length_bytes - done);
    co_await output.write(p.offset_bytes + done, byte_view(zeros).first(n));
    done += n;
  }
}

task<> plan_stage(restore_context& context, plan& image, sender<piece> pieces) {
  for (;;) {
    auto next = co_await offload(context.writers, [&] {
      stage_timer const busy(context.times, stage::plan);
      return image.take();
    });
    if (!next) break;
    co_await pieces.send(std::move(*next));
  }
  pieces.finish();
}

task<> disk_lane(restore_context& context, block_geometry geometry, receiver<piece>& pieces,
                 disk& output, bool output_is_zeroed, restore_progress& progress) {
  piece_buffer buffer(std::max<std::size_t>(limits::restore_piece_bytes, geometry.block_bytes));
  while (auto next = co_await pieces.receive()) {
    if (next->ids.empty()) {
      if (!output_is_zeroed) co_await write_zeros(output, *next);
      progress.zero_bytes += next->length_bytes;
    } else {
      auto const bytes = co_await offload(context.readers, [&] {
        return fetch_piece(context.store, *next, geometry, context.times, buffer);
      });
      wait_timer const writing(context.times, stage::write);
      co_await output.write(next->offset_bytes, bytes);
    }
    progress.done_bytes += next->length_bytes;
  }
}

struct stream_piece {
  piece what;
  std::optional<job<piece_buffer>> bytes;  // none for zeros
};

task<> fetch_stage(restore_context& context, block_geometry geometry, receiver<piece> pieces,
                   sender<stream_piece> fetched) {
  auto const executor = context.executor;
  auto* const store = &context.store;
  auto* const times = context.times;
  while (auto next = co_await pieces.receive()) {
    stream_piece out{std::move(*next), std::nullopt};
    if (!out.what.ids.empty()) {
      out.bytes.emplace(launch(context.readers, executor, [store, times, geometry, p = out.what] {
        piece_buffer buffer(p.length_bytes);
        (void)fetch_piece(*store, p, geometry, times, buffer);
        return buffer;
      }));
    }
    co_await fetched.send(std::move(out));
  }
  fetched.finish();
}

void write_all(int descriptor, byte_view bytes) {
  while (!bytes.empty()) {
    auto const n = ::write(descriptor, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw errno_error(errno, "writing the image to the output");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

task<> stream_stage(restore_context& context, receiver<stream_piece> fetched, int descriptor,
                    restore_progress& progress) {
  byte_vector const zeros(limits::restore_piece_bytes);
  while (auto next = co_await fetched.receive()) {
    auto const length = next->what.length_bytes;
    if (next->bytes) {
      auto const buffer = co_await next->bytes->result();
      byte_view const bytes(buffer.memory.get(), length);
      wait_timer const writing(context.times, stage::write);
      co_await offload(context.writers, [&] { write_all(descriptor, bytes); });
    } else {
      for (std::uint64_t done = 0; done < length;) {
        auto const n = std::min<std::uint64_t>(zeros.size(), length - done);
        co_await offload(context.writers,
                         [&] { write_all(descriptor, byte_view(zeros).first(n)); });
        done += n;
      }
      progress.zero_bytes += length;
    }
    progress.done_bytes += length;
  }
}

}  // namespace

task<> restore_to_disk(restore_context& context, manifest_reader manifest, disk& output,
                       bool output_is_zeroed, restore_progress& progress) {
  plan image(std::move(manifest));
  auto const geometry = image.geometry;
  progress.image_bytes = geometry.image_bytes;
  auto const lanes = context.readers.threads() + 2;
  auto [pieces_out, pieces_in] = make_channel<piece>(context.executor, lanes);
  co_await with_scope([&](scope& stages) {
    stages.spawn(plan_stage(context, image, std::move(pieces_out)));
    for (unsigned i = 0; i < lanes; ++i) {
      stages.spawn(disk_lane(context, geometry, pieces_in, output, output_is_zeroed, progress));
    }
  });
}

task<> restore_to_stream(restore_context& context, manifest_reader manifest, int descriptor,
                         restore_progress& progress) {
  plan image(std::move(manifest));
  auto const geometry = image.geometry;
  progress.image_bytes = geometry.image_bytes;
  auto const ahead = context.readers.threads() + 2;
  auto [pieces_out, pieces_in] = make_channel<piece>(context.executor, 1);
  auto [fetched_out, fetched_in] = make_channel<stream_piece>(context.executor, ahead);
  co_await with_scope([&](scope& stages) {
    stages.spawn(plan_stage(context, image, std::move(pieces_out)));
    stages.spawn(fetch_stage(context, geometry, std::move(pieces_in), std::move(fetched_out)));
    stages.spawn(stream_stage(context, std::move(fetched_in), descriptor, progress));
  });
}

}  // namespace diskdump
