#include "store/pack_store.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "store/index_reader.hpp"
#include "store/pack_format.hpp"
#include "store/pack_writer.hpp"
#include "store/store_error.hpp"
#include "store/unsynced.hpp"

namespace diskdump {

pack_store::pack_store(store_parts parts)
    : parts_(std::move(parts)), files_(*parts_.files, parts_.layout) {
  if (parts_.read_only) {
    // Without it no block can be found; each would look as if it were lost. A store that is being
    // made, or whose maker was killed, has no pack: the index comes first, so it is asked for
    // again.
    auto const path = index_path(parts_.blockstore, parts_.format);
    if (path_exists(path)) return;
    if (list_packs(*parts_.files, parts_.layout).empty() || path_exists(path)) return;
    throw error(store_errc::damaged_index, severity::permanent)
        .path(path)
        .cause("there is no such file")
        .remedy("run diskdump reindex, which makes it again from the packs");
  }
  writer_.emplace(*parts_.files, parts_.layout, *parts_.scratch, parts_.room.get(), parts_.level);
}

std::vector<bool> pack_store::missing(std::span<block_id const> ids) {
  std::vector<bool> answer(ids.size(), true);
  epochs_.find(ids, answer);
  parts_.index->find(ids, answer);
  return answer;
}

bool pack_store::put(block_id const& id, byte_view frame, entry_use use) {
  DISKDUMP_ASSERT(!frame.empty() && frame.size() <= limits::stored_block_bytes_max);
  parts_.check_writable();
  epochs_.throw_if_lost();
  using added = epochs<fresh_block>::added;
  added outcome{};
  {
    // Between the question and the answer nobody else puts this block.
    std::lock_guard const alone(putting_[folder_of(id) % putting_.size()]);
    if (epochs_.contains(id) || parts_.index->contains(id)) return false;
    auto const place = writer_->add(id, frame, use);
    outcome = epochs_.add(id, {frame.size(), place}, false);
  }
  if (outcome == added::is_new_and_full) barrier();
  return outcome != added::is_known;
}

std::vector<std::optional<stored_block>> pack_store::places_of(std::span<block_id const> ids) {
  std::vector<std::optional<stored_block>> fresh(ids.size());
  bool any = false;
  for (std::size_t i = 0; i < ids.size() && writer_; ++i) {
    auto const found = epochs_.find(ids[i]);
    if (!found) continue;
    fresh[i] = {ids[i], found->stored_bytes, found->place};
    any = true;
  }
  if (any) writer_->write_out();
  // Asked after the epochs: a block leaves its epoch only when its row can be seen.
  auto places = parts_.index->rows_of(ids, true);
  for (std::size_t i = 0; i < ids.size() && any; ++i) {
    if (fresh[i]) places[i] = fresh[i];
  }
  return places;
}

// Runs of blocks that lie side by side in a pack are read at once, each pack from its beginning to
// its end.
void pack_store::fetch(std::span<block_id const> ids, frame_batch& frames) {
  frames.reset(ids.size());
  auto const places = places_of(ids);
  std::vector<std::size_t> order;
  order.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (places[i]) order.push_back(i);
  }
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return places[a]->place < places[b]->place; });
  auto const end_of = [&](std::size_t i) {
    return std::uint64_t{places[i]->place.offset} + limits::pack_entry_header_bytes +
           std::min<std::uint64_t>(places[i]->stored_bytes, limits::stored_block_bytes_max);
  };
  for (std::size_t first = 0; first < order.size();) {
    auto const begin = places[order[first]]->place;
    auto end = end_of(order[first]);
    auto last = first + 1;
    for (; last < order.size(); ++last) {
      auto const next = places[order[last]]->place;
      if (next.pack != begin.pack || next.offset > end + limits::pack_fetch_gap_bytes ||
          end_of(order[last]) - begin.offset > limits::pack_fetch_bytes_max) {
        break;
      }
      end = std::max(end, end_of(order[last]));
    }
    auto const file = files_.open(begin.pack);
    auto const room = frames.room(file ? static_cast<std::size_t>(end - begin.offset) : 0);
    auto const bytes = byte_view(room).first(file ? file->read(room, begin.offset) : 0);
    for (; first < last; ++first) {
      auto const i = order[first];
      auto const at = std::min<std::size_t>(places[i]->place.offset - begin.offset, bytes.size());
      if (auto const frame = frame_in(bytes.subspan(at), *places[i])) {
        frames.set(i, *frame);
      } else {
        fetch_moved(ids[i], i, frames);
      }
    }
  }
}

// The frame of an entry that begins where `bytes` do; nullopt where another one does, or none.
std::optional<byte_view> pack_store::frame_in(byte_view bytes, stored_block const& block) {
  auto const entry = decode_pack_entry(bytes);
  if (!entry || entry->id != block.id || entry->codec != block_codec::lz4 ||
      entry->stored_bytes != block.stored_bytes ||
      bytes.size() < limits::pack_entry_header_bytes + block.stored_bytes) {
    return std::nullopt;
  }
  return bytes.subspan(limits::pack_entry_header_bytes,
                       static_cast<std::size_t>(block.stored_bytes));
}

// The block may have been moved, or forgotten and put again, between the look into the index and
// the read; and the pack that was kept open may be one of the past.
void pack_store::fetch_moved(block_id const& id, std::size_t at, frame_batch& frames) {
  std::optional<block_place> last;
  for (unsigned tries = 0;; ++tries) {
    auto const block = places_of(std::span(&id, 1)).front();
    if (!block) return;
    auto const path = pack_path(parts_.layout, block->place.pack);
    if (block->stored_bytes <= limits::stored_block_bytes_max) {
      auto const bytes = parts_.files->read(
          path, limits::pack_entry_header_bytes + block->stored_bytes, block->place.offset);
      if (auto const frame = bytes ? frame_in(*bytes, *block) : std::nullopt) {
        frames.set_copy(at, *frame);
        return;
      }
    }
    if (last == block->place || tries == limits::pack_read_tries_max) {
      throw error(store_errc::damaged_block, severity::corruption)
          .path(parts_.shelf->shown(*block))
          .cause("what stands there is not the block that the index says")
          .remedy("run diskdump verify, then dump the source again");
    }
    last = block->place;
  }
}

void pack_store::barrier() {
  if (parts_.read_only) return;  // nothing was put
  epochs_.barrier([this](auto const& blocks) { return flush(blocks); });
  if (parts_.level == durability::barrier) secure_unsynced(*parts_.files, parts_.layout);
}

// From buffer to durable pack to row, in this order: a row must never be there before its block.
pack_store::flush_result pack_store::flush(epochs<fresh_block>::epoch const& blocks) {
  flush_result result;
  result.lost = true;
  try {
    writer_->flush();
    if (parts_.level == durability::none) note_unsynced(*parts_.files, parts_.layout);
    result.lost = false;
    std::vector<stored_block> rows;
    rows.reserve(blocks.size());
    for (auto const& [id, block] : blocks) rows.push_back({id, block.stored_bytes, block.place});
    parts_.room->use([&] { parts_.index->insert(rows, [] {}); });
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
