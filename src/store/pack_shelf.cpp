// Packs beside what the index knows. Rows are looked at in the order of their places, so that a
// pack is read from its beginning to its end; what lies in a pack without a row is only looked for
// where the index has to be made anew.
#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <variant>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/checksum.hpp"
#include "io/io_errc.hpp"
#include "store/block_check.hpp"
#include "store/block_shelf.hpp"
#include "store/index.hpp"
#include "store/pack_compaction.hpp"
#include "store/pack_format.hpp"
#include "store/pack_rows.hpp"
#include "store/pack_scan.hpp"
#include "store/pack_window.hpp"
#include "store/pack_writer.hpp"
#include "store/run_parallel.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

using kind = block_condition::kind;

class pack_shelf final : public block_shelf {
 public:
  pack_shelf(file_system& files, store_layout layout, std::string blockstore, durability level,
             bool read_only)
      : files_(files),
        layout_(std::move(layout)),
        blockstore_(std::move(blockstore)),
        level_(level),
        read_only_(read_only) {}

  void use(store_index& index) override { index_ = &index; }

  void for_each_window(upkeep_request const& request, unsigned threads, work_monitor& monitor,
                       std::function<void(std::vector<upkeep_block>&)> const& take) override {
    if (request.without_row) {
      windows_of_entries(request, threads, monitor, take);
    } else {
      windows_of_rows(request, threads, monitor, take);
    }
  }

  void examine(
      std::span<upkeep_block const> blocks,
      std::function<void(upkeep_block const&, block_condition const&)> const& each) override;
  block_condition examine(block_id const& id) override;

  bool exists(stored_block const& block) override {
    auto const header = files_.read(pack_path(layout_, block.place.pack),
                                    limits::pack_entry_header_bytes, block.place.offset);
    auto const entry = header ? decode_pack_entry(*header) : std::nullopt;
    return entry && entry->id == block.id && entry->stored_bytes == block.stored_bytes;
  }
  // A pack grows, but another of its number has another writer.
  std::string holder(stored_block const& block) override {
    if (!exists(block)) return {};
    try {
      auto const bytes =
          files_.read(pack_path(layout_, block.place.pack), limits::pack_header_bytes);
      auto const header = bytes ? decode_pack_header(*bytes) : std::nullopt;
      if (header) return "a pack of " + header->owner;
    } catch (error const& failure) {
      if (!is_medium_error(failure)) throw;
    }
    // Nobody writes one like this any more.
    return "a pack without a header";
  }
  std::string shown(stored_block const& block) override {
    return format(".blockstore/{}", pack_path(store_layout(""), block.place.pack)) +
           format(" at {}", block.place.offset);
  }

  std::optional<std::string> quarantine(stored_block const& block) override;

  // An entry without a row is only space that the next compaction gives back.
  std::vector<block_id> files_of(unsigned, unsigned) override { return {}; }
  std::uint64_t file_bytes(block_id const&) override { return 0; }
  void erase(std::span<stored_block const>, unsigned,
             std::function<void()> const& meanwhile) override {
    meanwhile();
  }

  reclaimed_space reclaim(work_monitor& monitor,
                          std::function<bool(block_id const&)> const& is_named) override {
    return compact_packs(surroundings(), monitor, is_named);
  }

  void walk(std::function<void(stored_block const&)> const& each) override {
    for (auto const& pack : list_packs(files_, layout_)) {
      scan_pack(files_, layout_, pack.number, each);
    }
  }

 private:
  [[nodiscard]] pack_surroundings surroundings() const {
    return {files_, layout_, blockstore_, level_, read_only_, *index_};
  }
  [[nodiscard]] std::vector<std::uint32_t> ranges_for(std::uint64_t rows);
  void windows_of_rows(upkeep_request const& request, unsigned threads, work_monitor& monitor,
                       std::function<void(std::vector<upkeep_block>&)> const& take);
  void windows_of_entries(upkeep_request const& request, unsigned threads, work_monitor& monitor,
                          std::function<void(std::vector<upkeep_block>&)> const& take);
  [[nodiscard]] std::vector<upkeep_block> compare(std::span<stored_block const> entries,
                                                  std::span<pack_rows::row const> known);
  struct entry_content {
    byte_view frame;
    std::uint64_t checksum = 0;
  };
  // Valid until the next look into `pack`; or why it cannot be what the row is about.
  [[nodiscard]] std::variant<entry_content, block_condition> find_entry(pack_window& pack,
                                                                        stored_block const& block,
                                                                        std::size_t ahead_bytes);
  [[nodiscard]] block_condition examine_at(pack_window& pack, stored_block const& block);

  file_system& files_;
  store_layout layout_;
  std::string blockstore_;
  durability level_;
  bool read_only_;
  store_index* index_ = nullptr;
};

// ---- Windows ------------------------------------------------------------------------------------

bool is_asked_for(upkeep_request const& request, block_id const& id) {
  auto const folder = folder_of(id);
  return folder >= request.first_folder && folder < request.last_folder &&
         (!request.wanted || request.wanted(folder));
}

upkeep_block of_row(store_index::known_block const& known) {
  return {.id = known.block.id,
          .stored_bytes = known.block.stored_bytes,
          .row_bytes = known.block.stored_bytes,
          .place = known.block.place,
          .has_file = true,
          .has_row = !known.condemned,
          .condemned = known.condemned};
}

// The last numbers of ranges of packs, about equal in what the packs hold: so many that one for
// each window of so many rows is there.
std::vector<std::uint32_t> pack_shelf::ranges_for(std::uint64_t rows) {
  auto const count = std::min<std::uint64_t>(rows / limits::upkeep_files_per_window + 1,
                                             limits::pack_row_ranges_max);
  auto const packs = list_packs(files_, layout_);
  std::uint64_t bytes = 0;
  for (auto const& pack : packs) bytes += pack.size_bytes;
  std::vector<std::uint32_t> lasts;
  std::uint64_t taken = 0;
  for (auto const& pack : packs) {
    if (taken >= bytes / count * (lasts.size() + 1) && taken > 0 && lasts.size() + 1 < count) {
      lasts.push_back(pack.number - 1);
    }
    taken += pack.size_bytes;
  }
  lasts.push_back(std::numeric_limits<std::uint32_t>::max());
  return lasts;
}

void pack_shelf::windows_of_rows(upkeep_request const& request, unsigned threads,
                                 work_monitor& monitor,
                                 std::function<void(std::vector<upkeep_block>&)> const& take) {
  auto const lasts = ranges_for(request.rows);
  pack_rows rows(
      surroundings(), lasts, threads,
      [&request](pack_rows::row const& row) { return is_asked_for(request, row.block.id); },
      monitor.stop);
  for (auto const last : lasts) {
    std::vector<upkeep_block> window;
    {
      auto const known = rows.up_to(last);
      window.reserve(known.size());
      for (auto const& row : known) window.push_back(of_row(row));
    }
    if (monitor.stop) return;
    if (!window.empty()) take(window);
  }
}

// What lies in packs, ascending, beside what the index said of these packs at the beginning. An
// entry whose block has its row elsewhere is passed over: two processes put it at the same time, or
// it was moved.
std::vector<upkeep_block> pack_shelf::compare(std::span<stored_block const> entries,
                                              std::span<pack_rows::row const> known) {
  std::vector<upkeep_block> found;
  std::vector<block_id> strangers;
  auto at = known.begin();
  auto const without_entry = [&](store_index::known_block const& row) {
    auto block = of_row(row);
    block.has_file = false;
    found.push_back(block);
  };
  for (auto const& entry : entries) {
    while (at != known.end() && at->block.place < entry.place) without_entry(*at++);
    upkeep_block block{
        .id = entry.id, .stored_bytes = entry.stored_bytes, .place = entry.place, .has_file = true};
    if (at != known.end() && at->block.place == entry.place && at->block.id == entry.id) {
      block.row_bytes = at->block.stored_bytes;
      block.has_row = !at->condemned;
      block.condemned = at->condemned;
      ++at;
    } else {
      strangers.push_back(entry.id);
    }
    found.push_back(block);
  }
  while (at != known.end()) without_entry(*at++);

  // What the index says of them now: a dump may have given them rows since.
  std::map<block_id, stored_block> elsewhere;
  for (auto const& row : index_->rows_of(strangers, true)) {
    if (row) elsewhere.emplace(row->id, *row);
  }
  for (auto& block : found) {
    if (block.has_row || block.condemned) continue;
    auto const row = elsewhere.find(block.id);
    if (row == elsewhere.end() || row->second.place != block.place) continue;
    block.has_row = true;
    block.row_bytes = row->second.stored_bytes;
  }
  std::erase_if(found, [&](upkeep_block const& b) {
    return !b.has_row && !b.condemned && elsewhere.contains(b.id);
  });
  return found;
}

void pack_shelf::windows_of_entries(upkeep_request const& request, unsigned threads,
                                    work_monitor& monitor,
                                    std::function<void(std::vector<upkeep_block>&)> const& take) {
  std::set<std::uint32_t> numbers;
  for (auto const& pack : list_packs(files_, layout_)) numbers.insert(pack.number);
  std::uint64_t rows_in_all = 0;
  for (auto const& pack : index_->packs_in_use()) {
    numbers.insert(pack.pack);
    rows_in_all += pack.rows.blocks + pack.condemned.blocks;
  }
  pack_rows rows(
      surroundings(), ranges_for(rows_in_all), threads, [](pack_rows::row const&) { return true; },
      monitor.stop);
  std::vector<std::uint32_t> const packs(numbers.begin(), numbers.end());
  for (std::size_t first = 0; first < packs.size() && !monitor.stop;) {
    std::size_t last = first;
    std::vector<stored_block> entries;
    while (last < packs.size() && entries.size() < limits::upkeep_files_per_window &&
           !monitor.stop) {
      auto const some = std::min<std::size_t>(packs.size() - last, std::max(threads, 1U));
      std::vector<std::vector<stored_block>> found(some);
      run_parallel(some, threads, [&](std::size_t i) {
        scan_pack(files_, layout_, packs[last + i],
                  [&](stored_block const& entry) { found[i].push_back(entry); });
      });
      for (auto& of_one : found) entries.insert(entries.end(), of_one.begin(), of_one.end());
      last += some;
    }
    auto window = compare(entries, rows.up_to(packs[last - 1]));
    if (monitor.stop) return;
    std::erase_if(window, [&](upkeep_block const& b) { return !is_asked_for(request, b.id); });
    if (!window.empty()) take(window);
    first = last;
  }
}

// ---- One block ----------------------------------------------------------------------------------

std::variant<pack_shelf::entry_content, block_condition> pack_shelf::find_entry(
    pack_window& pack, stored_block const& block, std::size_t ahead_bytes) {
  auto const not_it = [](kind what, std::string detail, std::uint64_t stored_bytes) {
    return block_condition{what, std::move(detail), stored_bytes, 0};
  };
  auto const whole_bytes = limits::pack_entry_header_bytes + block.stored_bytes;
  if (block.stored_bytes == 0 || block.stored_bytes > limits::stored_block_bytes_max) {
    return not_it(kind::damaged, format("the index says {} bytes", block.stored_bytes), 0);
  }
  byte_view bytes;
  try {
    bytes = pack.view(block.place.offset, whole_bytes, ahead_bytes);
    if (bytes.empty() && !pack.exists()) return not_it(kind::absent, "the pack is not there", 0);
  } catch (error const& failure) {
    if (failure.code() == io_errc::is_directory || failure.code() == io_errc::unsupported_type) {
      return not_it(kind::damaged, failure.what(), 0);
    }
    if (is_medium_error(failure)) return not_it(kind::unreadable, failure.cause(), 0);
    throw;
  }
  auto const stored_bytes =
      std::uint64_t{bytes.size()} - std::min(bytes.size(), limits::pack_entry_header_bytes);
  if (bytes.empty()) return not_it(kind::empty, "the pack ends before it", 0);
  if (bytes.size() < whole_bytes) {
    return not_it(kind::truncated, "the pack ends within it", stored_bytes);
  }
  auto const entry = decode_pack_entry(bytes);
  if (!entry || entry->id != block.id || entry->stored_bytes != block.stored_bytes ||
      entry->codec != block_codec::lz4) {
    return not_it(kind::damaged, "its header in the pack is another", stored_bytes);
  }
  return entry_content{bytes.subspan(limits::pack_entry_header_bytes), entry->checksum};
}

block_condition pack_shelf::examine_at(pack_window& pack, stored_block const& block) {
  auto const found = find_entry(pack, block, 0);
  if (auto const* const condition = std::get_if<block_condition>(&found)) return *condition;
  auto const& content = std::get<entry_content>(found);
  auto condition = decode_block(block.id, content.frame);
  // A digest that fits is proof enough; the checksum only says what is wrong with one that does
  // not.
  if (!condition.good() && checksum64(content.frame) != content.checksum) {
    condition.what = kind::damaged;
    condition.detail = "its bytes have changed: " + condition.detail;
  }
  return condition;
}

void pack_shelf::examine(
    std::span<upkeep_block const> blocks,
    std::function<void(upkeep_block const&, block_condition const&)> const& each) {
  std::optional<pack_window> pack;
  std::uint32_t number = 0;
  std::uint64_t end = 0;  // of what is to be read at once
  auto const end_of = [](upkeep_block const& b) {
    return std::uint64_t{b.place.offset} + limits::pack_entry_header_bytes + b.stored_bytes;
  };
  block_checks checks;
  std::size_t judged = 0;
  auto const say = [&](block_condition condition) {
    auto const& block = blocks[judged++];
    // It may have been moved, or have gone, since the index was asked.
    if (!condition.good() && (block.has_row || block.condemned)) condition = examine(block.id);
    each(block, condition);
  };
  auto const judge = [&] {
    for (auto const& condition : checks.take()) {
      say(condition.good() ? condition : examine_at(*pack, blocks[judged].as_stored()));
    }
  };
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    auto const& block = blocks[i];
    if (!pack || number != block.place.pack) {
      judge();
      number = block.place.pack;
      pack.emplace(files_, pack_path(layout_, number));
      end = 0;
    }
    // One read for those that lie close by.
    if (end_of(block) > end) {
      end = end_of(block);
      for (auto next = i + 1; next < blocks.size(); ++next) {
        auto const& b = blocks[next];
        if (b.place.pack != number || b.place.offset < block.place.offset ||
            b.place.offset > end + limits::pack_read_gap_bytes ||
            end_of(b) - block.place.offset > limits::upkeep_bytes_per_read) {
          break;
        }
        end = std::max(end, end_of(b));
      }
    }
    auto const found = block.has_file
                           ? find_entry(*pack, block.as_stored(),
                                        static_cast<std::size_t>(end - block.place.offset))
                           : block_condition{kind::absent, "it is not in the pack", 0, 0};
    auto const* const condition = std::get_if<block_condition>(&found);
    if (condition == nullptr) checks.add(block.id, std::get<entry_content>(found).frame);
    if (condition != nullptr || checks.is_full()) judge();
    if (condition != nullptr) say(*condition);
  }
  judge();
}

block_condition pack_shelf::examine(block_id const& id) {
  std::optional<block_place> last;
  for (;;) {
    auto const row = index_->rows_of(std::span(&id, 1), true).front();
    if (!row) return {kind::absent, "the index does not know it", 0, 0};
    pack_window pack(files_, pack_path(layout_, row->place.pack));
    auto condition = examine_at(pack, *row);
    if (condition.good() || last == row->place) return condition;
    last = row->place;
  }
}

std::optional<std::string> pack_shelf::quarantine(stored_block const& block) {
  std::optional<byte_vector> bytes;
  try {
    bytes =
        files_.read(pack_path(layout_, block.place.pack),
                    limits::pack_entry_header_bytes +
                        std::min<std::uint64_t>(block.stored_bytes, limits::stored_block_bytes_max),
                    block.place.offset);
  } catch (error const& failure) {
    if (!is_medium_error(failure)) throw;
  }
  if (!bytes || bytes->empty()) return std::nullopt;
  files_.make_directories(layout_.in("quarantine"));
  for (unsigned copy = 1; copy <= limits::quarantine_copies_max; ++copy) {
    auto const target = layout_.quarantine(block.id.hex(), copy);
    if (files_.create_exclusive(target, *bytes)) return target.substr(layout_.in("").size());
  }
  throw too_many_in_quarantine(layout_);
}

}  // namespace

std::unique_ptr<block_shelf> make_pack_shelf(file_system& files, store_layout layout,
                                             std::string blockstore, durability level,
                                             bool read_only) {
  return std::make_unique<pack_shelf>(files, std::move(layout), std::move(blockstore), level,
                                      read_only);
}

}  // namespace diskdump
