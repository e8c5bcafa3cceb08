#include "store/pack_rows.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <random>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "store/run_parallel.hpp"
#include "store/scratch.hpp"

namespace diskdump {

namespace {

// digest[32] · pack u32 · offset u32 · stored bytes u64 · condemned u8
constexpr std::size_t row_bytes = 32 + 4 + 4 + 8 + 1;

void append_row(byte_vector& to, pack_rows::row const& row) {
  std::array<std::byte, row_bytes> bytes;
  auto* const at = bytes.data();
  std::copy(row.block.id.bytes.begin(), row.block.id.bytes.end(), at);
  store_le<std::uint32_t>(at + 32, row.block.place.pack);
  store_le<std::uint32_t>(at + 36, row.block.place.offset);
  store_le<std::uint64_t>(at + 40, row.block.stored_bytes);
  bytes[48] = static_cast<std::byte>(row.condemned ? 1 : 0);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

pack_rows::row read_row(std::byte const* at) {
  pack_rows::row row;
  std::copy(at, at + 32, row.block.id.bytes.begin());
  row.block.place = {load_le<std::uint32_t>(at + 32), load_le<std::uint32_t>(at + 36)};
  row.block.stored_bytes = load_le<std::uint64_t>(at + 40);
  row.condemned = at[48] != std::byte{0};
  return row;
}

// Not /tmp, which is memory on many systems.
std::string system_scratch_folder() {
  auto const* const chosen = std::getenv("TMPDIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp";
}

}  // namespace

pack_rows::pack_rows(pack_surroundings const& store, std::vector<std::uint32_t> lasts,
                     unsigned threads, std::function<bool(row const&)> wanted,
                     std::atomic<bool> const& stop)
    : store_(store), threads_(threads), wanted_(std::move(wanted)), stop_(stop) {
  DISKDUMP_ASSERT(!lasts.empty() && lasts.size() <= limits::pack_row_ranges_max);
  DISKDUMP_ASSERT(lasts.back() == std::numeric_limits<std::uint32_t>::max());
  ranges_.resize(lasts.size());
  for (std::size_t i = 0; i < lasts.size(); ++i) ranges_[i].last = lasts[i];
}

// Below tmp/ as all temporary files, but nothing is written into a store that is only read.
pack_rows::nameless_file pack_rows::make_file() const {
  nameless_file made;
  auto const make_in = [&made](file_system& files, std::string const& path) {
    made.end = files.create_appendable(path, write_back::late);
    if (!made.end) return;
    made.content = files.open_readable(path);
    (void)files.remove(path);
  };
  if (store_.read_only) {
    std::random_device random;
    auto const files = make_posix_file_system(system_scratch_folder());
    make_in(*files, format(".diskdump-{}-{:08x}{:08x}", ::getpid(), random(), random()));
  } else {
    scratch_folder scratch(store_.blockstore, store_.files, store_.layout);
    make_in(store_.files, scratch.next_path());
  }
  return made;
}

pack_rows::range& pack_rows::range_of(std::uint32_t pack) {
  return *std::lower_bound(ranges_.begin(), ranges_.end(), pack,
                           [](range const& r, std::uint32_t number) { return r.last < number; });
}

// False where the disk is full, say: who looks after a store has to do it all the same, slower.
bool pack_rows::write_out(range& to) {
  if (to.waiting.empty()) return true;
  try {
    file_->end->append(to.waiting);
  } catch (error const&) {
    return false;
  }
  to.pieces.push_back({written_bytes_, to.waiting.size()});
  written_bytes_ += to.waiting.size();
  to.waiting.clear();
  return true;
}

void pack_rows::deal() {
  try {
    file_ = make_file();
  } catch (error const&) {
    return;  // as in write_out()
  }
  if (!file_->end || !file_->content) {
    file_.reset();
    return;
  }
  auto const piece_bytes =
      std::min(limits::pack_row_piece_bytes_max, limits::pack_row_buffer_bytes / ranges_.size());
  bool well = true;
  store_.index.for_each_known([&](row const& known) {
    if (!wanted_(known)) return !stop_;
    auto& to = range_of(known.block.place.pack);
    if (to.waiting.size() + row_bytes > piece_bytes) well = write_out(to);
    if (well && to.waiting.empty()) to.waiting.reserve(piece_bytes);
    if (well) append_row(to.waiting, known);
    return well && !stop_;
  });
  for (auto& to : ranges_) {
    well = well && write_out(to);
    free_memory(to.waiting);
  }
  if (well) return;
  file_.reset();
  for (auto& to : ranges_) free_memory(to.pieces);
}

bool pack_rows::read_back(range const& from, std::vector<row>& rows) const {
  std::size_t total_bytes = 0;
  for (auto const& piece : from.pieces) total_bytes += piece.bytes;
  rows.reserve(rows.size() + total_bytes / row_bytes);
  byte_vector bytes;
  for (auto const& piece : from.pieces) {
    bytes.resize(piece.bytes);
    try {
      if (file_->content->read(bytes, piece.offset_bytes) != bytes.size()) return false;
    } catch (error const&) {
      return false;
    }
    for (std::size_t at = 0; at < bytes.size(); at += row_bytes) {
      rows.push_back(read_row(bytes.data() + at));
    }
  }
  return true;
}

void pack_rows::look_for(std::size_t index_of_range, std::vector<row>& rows) {
  auto const* const range = &ranges_[index_of_range];
  // By slices of the digests, so that several threads can ask at the same time.
  std::mutex mutex;
  run_parallel(limits::index_slices, threads_, [&](std::size_t slice) {
    if (stop_) return;
    auto const first_of = [](std::size_t which) {
      return first_of_folder(static_cast<unsigned>(which * (block_folders / limits::index_slices)));
    };
    // The last one ends where all zeros, to the index, is the end.
    auto found = store_.index.known_between(first_of(slice), first_of(slice + 1));
    std::erase_if(found, [&](row const& known) {
      return &range_of(known.block.place.pack) != range || !wanted_(known);
    });
    std::lock_guard const lock(mutex);
    rows.insert(rows.end(), found.begin(), found.end());
  });
}

std::vector<pack_rows::row> pack_rows::up_to(std::uint32_t last) {
  if (!begun_ && ranges_.size() > 1) deal();
  begun_ = true;
  while (next_ < ranges_.size() && !stop_ && (next_ == 0 || ranges_[next_ - 1].last < last)) {
    std::vector<row> rows;
    if (!file_ || !read_back(ranges_[next_], rows)) {
      rows.clear();
      look_for(next_, rows);
    }
    std::sort(rows.begin(), rows.end(),
              [](row const& a, row const& b) { return a.block.place < b.block.place; });
    free_memory(ranges_[next_].pieces);
    ++next_;
    if (taken_.empty()) {
      taken_ = std::move(rows);
    } else {
      taken_.insert(taken_.end(), rows.begin(), rows.end());
    }
  }
  auto const end = std::partition_point(
      taken_.begin(), taken_.end(), [last](row const& r) { return r.block.place.pack <= last; });
  if (end == taken_.end()) return std::exchange(taken_, {});
  std::vector<row> given(taken_.begin(), end);
  taken_.erase(taken_.begin(), end);
  return given;
}

}  // namespace diskdump
