// Block files beside what the index knows: windows that fit into memory, each in about the order
// in which the files lie on the disk.
#include <algorithm>
#include <iterator>

#include "base/limits.hpp"
#include "store/block_check.hpp"
#include "store/block_shelf.hpp"
#include "store/index.hpp"
#include "store/run_parallel.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

class loose_shelf final : public block_shelf {
 public:
  loose_shelf(file_system& files, store_layout layout)
      : files_(files), layout_(std::move(layout)) {}

  void use(store_index& index) override { index_ = &index; }

  void for_each_window(upkeep_request const& request, unsigned threads, work_monitor& monitor,
                       std::function<void(std::vector<upkeep_block>&)> const& take) override;

  void examine(
      std::span<upkeep_block const> blocks,
      std::function<void(upkeep_block const&, block_condition const&)> const& each) override {
    block_checks checks;
    std::size_t judged = 0;
    auto const judge = [&] {
      for (auto const& condition : checks.take()) each(blocks[judged++], condition);
    };
    for (auto const& block : blocks) {
      auto const read = read_block_file(files_, layout_, block.id);
      auto const* const condition = std::get_if<block_condition>(&read);
      if (condition != nullptr || checks.is_full()) judge();
      if (condition != nullptr) {
        each(blocks[judged++], *condition);
      } else {
        checks.add(block.id, std::get<byte_vector>(read));
      }
    }
    judge();
  }
  block_condition examine(block_id const& id) override {
    return examine_block(files_, layout_, id);
  }

  bool exists(stored_block const& block) override {
    return files_.read(layout_.block(block.id.hex()), 0).has_value();
  }
  std::string holder(stored_block const& block) override {
    auto const path = layout_.block(block.id.hex());
    auto stamp = files_.stamp(path);
    auto const file = stamp.empty() ? nullptr : files_.open_readable(path);
    // Another frame may hold the same block, and the row says how long it is.
    return file && file->size_bytes() == block.stored_bytes ? std::move(stamp) : std::string();
  }
  std::string shown(stored_block const& block) override {
    return ".blockstore/" + store_layout("").block(block.id.hex());
  }

  std::optional<std::string> quarantine(stored_block const& block) override {
    if (!exists(block)) return std::nullopt;
    return move_to_quarantine(files_, layout_, block.id).substr(layout_.in("").size());
  }

  std::vector<block_id> files_of(unsigned first_folder, unsigned last_folder) override {
    std::vector<block_id> found;
    walk_block_files(files_, layout_, first_folder, last_folder, listing::names,
                     [&](block_file const& file) { found.push_back(file.id); });
    return found;
  }
  std::uint64_t file_bytes(block_id const& id) override {
    return block_file_bytes(files_, layout_, id);
  }

  void erase(std::span<stored_block const> blocks, unsigned threads,
             std::function<void()> const& meanwhile) override {
    constexpr auto each = limits::erased_files_per_task;
    run_parallel(1 + (blocks.size() + each - 1) / each, threads, [&](std::size_t task) {
      if (task == 0) return meanwhile();
      auto const rest = blocks.subspan((task - 1) * each);
      for (auto const& block : rest.first(std::min(rest.size(), each))) {
        writing([&] { (void)files_.remove(layout_.block(block.id.hex())); });
      }
    });
  }

  // A file that is deleted gives its space back at once.
  reclaimed_space reclaim(work_monitor&, std::function<bool(block_id const&)> const&) override {
    return {};
  }

  void walk(std::function<void(stored_block const&)> const& each) override {
    walk_block_files(files_, layout_, 0, block_folders, listing::sizes,
                     [&](block_file const& file) {
                       if (file.stored_bytes > 0) each({file.id, file.stored_bytes, {}});
                     });
  }

 private:
  [[nodiscard]] std::vector<upkeep_block> gather(upkeep_request const& request, unsigned first,
                                                 unsigned last);

  file_system& files_;
  store_layout layout_;
  store_index* index_ = nullptr;
};

// Files and rows of some folders, by id: both come in ascending order.
std::vector<upkeep_block> loose_shelf::gather(upkeep_request const& request, unsigned first,
                                              unsigned last) {
  std::vector<upkeep_block> found;
  // Files first: a row that appears meanwhile is then one of a file that is not listed, which the
  // caller looks for, and not a file without row.
  auto const add = [&](block_file const& file) {
    found.push_back(
        {.id = file.id, .stored_bytes = file.stored_bytes, .inode = file.inode, .has_file = true});
  };
  walk_block_files(files_, layout_, first, last, request.detail, add, request.wanted);
  auto const files = found.size();
  auto const by_id = [](upkeep_block const& a, upkeep_block const& b) { return a.id < b.id; };
  for (auto const& known : index_->known_between(first_of_folder(first), first_of_folder(last))) {
    if (request.wanted && !request.wanted(folder_of(known.block.id))) continue;
    upkeep_block const sought{.id = known.block.id};
    auto const end = found.begin() + static_cast<std::ptrdiff_t>(files);
    auto at = std::lower_bound(found.begin(), end, sought, by_id);
    if (at == end || at->id != sought.id) {
      found.push_back(sought);
      at = std::prev(found.end());
    }
    if (known.condemned) {
      at->condemned = true;
    } else {
      at->has_row = true;
      at->row_bytes = known.block.stored_bytes;
    }
  }
  return found;
}

void loose_shelf::for_each_window(upkeep_request const& request, unsigned threads,
                                  work_monitor& monitor,
                                  std::function<void(std::vector<upkeep_block>&)> const& take) {
  std::vector<upkeep_block> window;
  auto const hand_over = [&] {
    std::sort(window.begin(), window.end(),
              [](upkeep_block const& a, upkeep_block const& b) { return a.inode < b.inode; });
    take(window);
    window.clear();
  };
  for (auto first = request.first_folder; first < request.last_folder && !monitor.stop;) {
    // As many folders at once as there are threads to walk them.
    auto const tasks = std::max(threads, 1U);
    std::vector<std::vector<upkeep_block>> found(tasks);
    run_parallel(tasks, threads, [&](std::size_t i) {
      auto const from = first + static_cast<unsigned>(i) * limits::upkeep_folders_per_task;
      auto const to = std::min(from + limits::upkeep_folders_per_task, request.last_folder);
      if (from < to) found[i] = gather(request, from, to);
    });
    for (auto& some : found) window.insert(window.end(), some.begin(), some.end());
    first += tasks * limits::upkeep_folders_per_task;
    if (window.size() >= limits::upkeep_files_per_window) hand_over();
  }
  if (!monitor.stop && !window.empty()) hand_over();
}

}  // namespace

std::unique_ptr<block_shelf> make_loose_shelf(file_system& files, store_layout layout) {
  return std::make_unique<loose_shelf>(files, std::move(layout));
}

}  // namespace diskdump
