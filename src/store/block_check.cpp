#include "store/block_check.hpp"

#include <memory>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"
#include "io/io_errc.hpp"
#include "store/lock_file.hpp"
#include "store/store_error.hpp"

namespace diskdump {

using kind = block_condition::kind;

block_condition decode_block(block_id const& id, byte_view frame) {
  // Not touched beyond what the frame decodes to, so it costs one block of memory per thread.
  thread_local auto const raw =
      std::make_unique_for_overwrite<std::byte[]>(limits::block_bytes_max);
  thread_local block_decompressor decompressor;
  block_condition found;
  found.stored_bytes = frame.size();
  try {
    found.content_bytes =
        decompressor.lz4_frame(frame, byte_span(raw.get(), limits::block_bytes_max));
  } catch (error const& failure) {
    found.what = failure.code() == codec_errc::too_short ? kind::truncated : kind::damaged;
    found.detail = failure.cause().empty() ? failure.what() : failure.cause();
    return found;
  }
  auto const digest = sha256(byte_view(raw.get(), found.content_bytes));
  if (digest != id) {
    found.what = kind::damaged;
    found.detail = format("its content has the digest {}", digest.hex());
  }
  return found;
}

block_condition examine_block(file_system& files, store_layout const& layout, block_id const& id) {
  try {
    auto const frame = files.read(layout.block(id.hex()), limits::stored_block_bytes_max + 1);
    if (!frame) return {kind::absent, "", 0, 0};
    if (frame->empty()) return {kind::empty, "the file is empty", 0, 0};
    if (frame->size() > limits::stored_block_bytes_max) {
      return {kind::damaged,
              format("the file is longer than {} bytes", limits::stored_block_bytes_max),
              frame->size(), 0};
    }
    return decode_block(id, *frame);
  } catch (error const& failure) {
    if (failure.code() == io_errc::is_directory || failure.code() == io_errc::unsupported_type) {
      return {kind::damaged, failure.what(), 0, 0};
    }
    if (is_medium_error(failure)) return {kind::unreadable, failure.cause(), 0, 0};
    throw;
  }
}

std::string move_to_quarantine(file_system& files, store_layout const& layout, block_id const& id) {
  auto const hex = id.hex();
  files.make_directories(layout.in("quarantine"));
  for (unsigned copy = 1; copy <= limits::quarantine_copies_max; ++copy) {
    auto target = layout.quarantine(hex, copy);
    if (files.rename_noreplace(layout.block(hex), target)) return target;
  }
  throw too_many_in_quarantine(layout);
}

error too_many_in_quarantine(store_layout const& layout) {
  return error(store_errc::cannot_write, severity::permanent)
      .path(layout.in("quarantine"))
      .cause("it holds too many copies of one block")
      .remedy("empty it");
}

std::optional<std::string> set_aside(store_parts& parts, block_id const& id) {
  // One process at a time judges and moves: a good copy may have been put there meanwhile.
  auto const between = lock_file::wait_for(parts.blockstore + "/repair.lock");
  auto const row = parts.index->rows_of(std::span(&id, 1), true).front();
  bool bad = false;
  (void)parts.index->remove_unless(std::span(&id, 1), [&](block_id const& which) {
    auto const condition = parts.shelf->examine(which);
    bad = condition.bad();
    return condition.good();
  });
  if (!bad) return std::nullopt;
  return writing([&] { return parts.shelf->quarantine(row.value_or(stored_block{id, 0, {}})); });
}

}  // namespace diskdump
