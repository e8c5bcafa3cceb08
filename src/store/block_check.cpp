#include "store/block_check.hpp"

#include <memory>
#include <utility>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "io/io_errc.hpp"
#include "store/lock_file.hpp"
#include "store/store_error.hpp"

namespace diskdump {

using kind = block_condition::kind;

namespace {

// Not touched beyond what the frames decode to.
byte_span contents_buffer() {
  constexpr auto bytes = limits::digest_together_bytes + limits::block_bytes_max;
  thread_local auto const memory = std::make_unique_for_overwrite<std::byte[]>(bytes);
  return {memory.get(), bytes};
}

}  // namespace

bool block_checks::is_full() const noexcept {
  return count_ == ids_.size() || used_bytes_ > limits::digest_together_bytes;
}

void block_checks::add(block_id const& id, byte_view frame) {
  DISKDUMP_ASSERT(!is_full());
  thread_local block_decompressor decompressor;
  auto& found = conditions_[count_];
  found = {};
  found.stored_bytes = frame.size();
  ids_[count_] = id;
  contents_[count_] = {};
  auto const room = contents_buffer().subspan(used_bytes_, limits::block_bytes_max);
  try {
    found.content_bytes = decompressor.lz4_frame(frame, room);
    contents_[count_] = room.first(found.content_bytes);
    used_bytes_ += found.content_bytes;
  } catch (error const& failure) {
    found.what = failure.code() == codec_errc::too_short ? kind::truncated : kind::damaged;
    found.detail = failure.cause().empty() ? failure.what() : failure.cause();
  }
  ++count_;
}

std::span<block_condition const> block_checks::take() {
  std::array<block_id, sha256_at_once> digests;
  sha256_each(std::span(contents_).first(count_), std::span(digests).first(count_));
  for (std::size_t i = 0; i < count_; ++i) {
    auto& found = conditions_[i];
    if (!found.good() || digests[i] == ids_[i]) continue;
    found.what = kind::damaged;
    found.detail = format("its content has the digest {}", digests[i].hex());
  }
  used_bytes_ = 0;
  return std::span(conditions_).first(std::exchange(count_, 0));
}

block_condition decode_block(block_id const& id, byte_view frame) {
  block_checks one;
  one.add(id, frame);
  return one.take().front();
}

std::variant<byte_vector, block_condition> read_block_file(file_system& files,
                                                           store_layout const& layout,
                                                           block_id const& id) {
  try {
    auto frame = files.read(layout.block(id.hex()), limits::stored_block_bytes_max + 1);
    if (!frame) return block_condition{kind::absent, "", 0, 0};
    if (frame->empty()) return block_condition{kind::empty, "the file is empty", 0, 0};
    if (frame->size() > limits::stored_block_bytes_max) {
      return block_condition{
          kind::damaged, format("the file is longer than {} bytes", limits::stored_block_bytes_max),
          frame->size(), 0};
    }
    return std::move(*frame);
  } catch (error const& failure) {
    if (failure.code() == io_errc::is_directory || failure.code() == io_errc::unsupported_type) {
      return block_condition{kind::damaged, failure.what(), 0, 0};
    }
    if (is_medium_error(failure)) {
      return block_condition{kind::unreadable, failure.cause(), 0, 0};
    }
    throw;
  }
}

block_condition examine_block(file_system& files, store_layout const& layout, block_id const& id) {
  auto const read = read_block_file(files, layout, id);
  if (auto const* const condition = std::get_if<block_condition>(&read)) return *condition;
  return decode_block(id, std::get<byte_vector>(read));
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
