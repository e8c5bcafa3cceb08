#include "store/pack_store.hpp"

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "store/index_reader.hpp"
#include "store/pack_format.hpp"
#include "store/store_error.hpp"

namespace diskdump {

pack_store::pack_store(store_parts parts) : parts_(std::move(parts)) {
  if (parts_.read_only) {
    // Without it no block can be found; each would look as if it were lost.
    auto const path = index_path(parts_.blockstore, parts_.format);
    if (path_exists(path)) return;
    throw error(store_errc::damaged_index, severity::permanent)
        .path(path)
        .cause("there is no such file")
        .remedy("run diskdump reindex, which makes it again from the packs");
  }
  writer_.emplace(*parts_.files, parts_.layout, *parts_.scratch, parts_.level);
}

std::vector<bool> pack_store::missing(std::span<block_id const> ids) {
  std::vector<bool> answer(ids.size(), true);
  epochs_.find(ids, answer);
  parts_.index->find(ids, answer);
  return answer;
}

bool pack_store::put(block_id const& id, byte_view frame) {
  DISKDUMP_ASSERT(!frame.empty() && frame.size() <= limits::stored_block_bytes_max);
  parts_.check_writable();
  epochs_.throw_if_lost();
  using added = epochs<fresh_block>::added;
  added outcome{};
  {
    // Between the question and the answer nobody else puts this block.
    std::lock_guard const alone(putting_[folder_of(id) % putting_.size()]);
    if (epochs_.contains(id) || parts_.index->contains(id)) return false;
    auto const place = writer_->add(id, frame);
    outcome = epochs_.add(id, {frame.size(), place}, false);
  }
  if (outcome == added::is_new_and_full) barrier();
  return outcome != added::is_known;
}

// The block may be moved, or forgotten and put again, between the look into the index and the read:
// what is read says itself whose it is.
std::optional<byte_vector> pack_store::get(block_id const& id) {
  std::optional<block_place> last;
  for (unsigned tries = 0;; ++tries) {
    block_place place;
    std::uint64_t stored_bytes = 0;
    if (auto const fresh = epochs_.find(id)) {
      writer_->write_out();
      place = fresh->place;
      stored_bytes = fresh->stored_bytes;
    } else {
      auto const row = parts_.index->rows_of(std::span(&id, 1), true).front();
      if (!row) return std::nullopt;
      place = row->place;
      stored_bytes = row->stored_bytes;
    }
    auto const path = pack_path(parts_.layout, place.pack);
    if (stored_bytes <= limits::stored_block_bytes_max) {
      auto bytes =
          parts_.files->read(path, limits::pack_entry_header_bytes + stored_bytes, place.offset);
      auto const entry = bytes ? decode_pack_entry(*bytes) : std::nullopt;
      if (entry && entry->id == id && entry->codec == block_codec::lz4 &&
          entry->stored_bytes == stored_bytes &&
          bytes->size() == limits::pack_entry_header_bytes + stored_bytes) {
        bytes->erase(bytes->begin(), bytes->begin() + limits::pack_entry_header_bytes);
        return bytes;
      }
    }
    if (last == place || tries == limits::pack_read_tries_max) {
      throw error(store_errc::damaged_block, severity::corruption)
          .path(parts_.shelf->shown({id, stored_bytes, place}))
          .cause("what stands there is not the block that the index says")
          .remedy("run diskdump verify, then dump the source again");
    }
    last = place;
  }
}

void pack_store::barrier() {
  if (parts_.read_only) return;  // nothing was put
  epochs_.barrier([this](auto const& blocks) { return flush(blocks); });
}

// From buffer to durable pack to row, in this order: a row must never be there before its block.
pack_store::flush_result pack_store::flush(epochs<fresh_block>::epoch const& blocks) {
  flush_result result;
  result.lost = true;
  try {
    writer_->flush();
    result.lost = false;
    std::vector<stored_block> rows;
    rows.reserve(blocks.size());
    for (auto const& [id, block] : blocks) rows.push_back({id, block.stored_bytes, block.place});
    parts_.index->insert(rows, [] {});
  } catch (...) {
    result.failure = as_store_error(std::current_exception());
  }
  return result;
}

// The bytes stay until a collector compacts the pack.
void pack_store::remove(std::span<block_id const> ids) {
  parts_.check_writable();
  epochs_.remove(ids, [this, ids] { parts_.index->remove(ids); });
}

}  // namespace diskdump
