#include "store/unneeded.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "base/limits.hpp"
#include "store/layout.hpp"
#include "store/run_parallel.hpp"

namespace diskdump {

namespace {

using row_run = store_index::row_run;

// What several threads find, given to the steps one call at a time. Whoever completes a step makes
// it, while the others go on looking.
class steps_in_turn {
 public:
  explicit steps_in_turn(unneeded_steps const& steps) : steps_(steps) {}

  void add(row_run const& run);
  void add(std::span<stored_block const> strays);
  // What is left for the last step. REQUIRES: nobody adds any more.
  void finish();

 private:
  using lock = std::unique_lock<std::mutex>;

  void hand_over_rows(lock& held);
  void make(lock& held, std::function<void()> const& step);
  [[nodiscard]] bool is_full() const noexcept {
    return rows_waiting_ >= limits::index_rows_per_step;
  }

  unneeded_steps const& steps_;
  std::mutex mutex_;
  std::condition_variable made_;
  bool making_ = false;
  std::vector<row_run> runs_;  // not handed over yet: those of one step
  std::size_t rows_waiting_ = 0;
};

void steps_in_turn::make(lock& held, std::function<void()> const& step) {
  making_ = true;
  held.unlock();
  std::exception_ptr failure;
  try {
    step();
  } catch (...) {
    failure = std::current_exception();
  }
  held.lock();
  making_ = false;
  made_.notify_all();
  if (failure) std::rethrow_exception(failure);
}

void steps_in_turn::hand_over_rows(lock& held) {
  auto const runs = std::exchange(runs_, {});
  rows_waiting_ = 0;
  make(held, [&] { steps_.rows(runs); });
}

void steps_in_turn::add(row_run const& run) {
  lock held(mutex_);
  made_.wait(held, [this] { return !making_ || !is_full(); });
  runs_.push_back(run);
  rows_waiting_ += run.rows.blocks;
  while (is_full() && !making_) hand_over_rows(held);
}

void steps_in_turn::add(std::span<stored_block const> strays) {
  lock held(mutex_);
  made_.wait(held, [this] { return !making_; });
  make(held, [&] { steps_.strays(strays); });
}

void steps_in_turn::finish() {
  lock held(mutex_);
  if (!runs_.empty()) hand_over_rows(held);
}

class unneeded_search {
 public:
  unneeded_search(store_parts const& parts, manifest_marks const& marks, work_monitor& monitor,
                  unneeded_steps const& steps)
      : parts_(parts), marks_(marks), monitor_(monitor), steps_(steps) {}

  void look_at_folders(unsigned first, unsigned last);
  void finish() { steps_.finish(); }
  [[nodiscard]] std::uint64_t rows_in_manifests() const noexcept { return rows_in_manifests_; }

 private:
  void look_at_rows(std::span<block_id const> ids, std::span<store_index::known_block const> rows);
  void look_at_files(std::span<block_id const> files, std::span<block_id const> with_row,
                     std::span<block_id const> condemned);
  [[nodiscard]] std::vector<std::uint8_t> marks_of(std::span<block_id const> ids) const {
    std::vector<std::uint8_t> bits(ids.size());
    marks_.blocks().of(ids, bits);
    return bits;
  }

  store_parts const& parts_;
  manifest_marks const& marks_;
  work_monitor& monitor_;
  steps_in_turn steps_;
  std::atomic<std::uint64_t> rows_in_manifests_{0};
};

// Files first: a row that appears meanwhile is then one of a file that is not listed, and not a
// file without row.
void unneeded_search::look_at_folders(unsigned first, unsigned last) {
  auto const files = parts_.shelf->files_of(first, last);
  auto const known = parts_.index->known_between(first_of_folder(first), first_of_folder(last));
  std::vector<block_id> ids;
  ids.reserve(known.size());
  for (auto const& one : known) ids.push_back(one.block.id);
  auto const rows = static_cast<std::size_t>(
      std::find_if(known.begin(), known.end(), [](auto const& one) { return one.condemned; }) -
      known.begin());
  look_at_rows(std::span(ids).first(rows), std::span(known).first(rows));
  look_at_files(files, std::span(ids).first(rows), std::span(ids).subspan(rows));
  monitor_.done += last - first;
}

void unneeded_search::look_at_rows(std::span<block_id const> ids,
                                   std::span<store_index::known_block const> rows) {
  auto const marks = marks_of(ids);
  std::vector<row_run> runs;
  bool goes_on = false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (marks[i] != 0) {
      if (manifest_marks::is_of_manifest(marks[i])) ++rows_in_manifests_;
      goes_on = false;
      continue;
    }
    if (!goes_on) runs.push_back({.first = ids[i], .last = {}, .rows = {}});
    auto& run = runs.back();
    run.last = ids[i];
    run.rows += {1, rows[i].block.stored_bytes};
    goes_on = run.rows.blocks < limits::index_rows_per_step;
  }
  for (auto const& run : runs) {
    if (monitor_.stop) return;
    steps_.add(run);
  }
}

void unneeded_search::look_at_files(std::span<block_id const> files,
                                    std::span<block_id const> with_row,
                                    std::span<block_id const> condemned) {
  auto const is_in = [](std::span<block_id const> ids, block_id const& id) {
    return std::binary_search(ids.begin(), ids.end(), id);
  };
  auto const marks = marks_of(files);
  std::vector<stored_block> strays;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (marks[i] != 0 || is_in(with_row, files[i]) || is_in(condemned, files[i])) continue;
    strays.push_back({files[i], parts_.shelf->file_bytes(files[i]), {}});
  }
  if (!strays.empty() && !monitor_.stop) steps_.add(strays);
}

}  // namespace

std::uint64_t find_unneeded(store_parts const& parts, manifest_marks const& marks, unsigned threads,
                            work_monitor& monitor, unneeded_steps const& steps) {
  constexpr auto folders = limits::upkeep_folders_per_task;
  static_assert(block_folders % folders == 0);
  monitor.enter("looking for blocks that no manifest names", block_folders);
  unneeded_search search(parts, marks, monitor, steps);
  run_parallel(block_folders / folders, threads, [&](std::size_t task) {
    if (monitor.stop) return;
    auto const first = static_cast<unsigned>(task) * folders;
    search.look_at_folders(first, first + folders);
  });
  if (!monitor.stop) search.finish();
  return search.rows_in_manifests();
}

}  // namespace diskdump
