#include "store/prune.hpp"

#include <algorithm>
#include <chrono>
#include <mutex>

#include "base/assert.hpp"
#include "store/inventory.hpp"
#include "store/protection.hpp"
#include "store/run_parallel.hpp"
#include "store/store_error.hpp"

namespace diskdump {

namespace {

using days = std::chrono::sys_days;

days day_of(std::int64_t seconds) {
  return std::chrono::floor<std::chrono::days>(
      std::chrono::sys_seconds(std::chrono::seconds(seconds)));
}

std::int64_t day_number(std::int64_t seconds) { return day_of(seconds).time_since_epoch().count(); }

// 1970-01-01 was a Thursday; weeks begin on Monday.
std::int64_t week_number(std::int64_t seconds) {
  constexpr std::int64_t thursday = 3, week = 7;
  auto const shifted = day_number(seconds) + thursday;
  return shifted >= 0 ? shifted / week : (shifted - week + 1) / week;
}

std::int64_t month_number(std::int64_t seconds) {
  std::chrono::year_month_day const day(day_of(seconds));
  return std::int64_t{int{day.year()}} * 12 + unsigned{day.month()};
}

std::int64_t year_number(std::int64_t seconds) {
  return int{std::chrono::year_month_day(day_of(seconds)).year()};
}

struct rule {
  char const* reason;
  std::uint64_t count;
  std::int64_t (*period)(std::int64_t seconds);
};

// The newest of each of the newest `count` periods. `verdicts` are of one name, oldest first.
void apply(rule const& r, std::span<prune_candidate const> candidates,
           std::span<prune_verdict> verdicts) {
  std::uint64_t kept = 0;
  std::optional<std::int64_t> previous;
  for (auto i = candidates.size(); i-- > 0 && kept < r.count;) {
    if (!candidates[i].moment) continue;
    auto const period = r.period(*candidates[i].moment);
    if (previous == period) continue;
    previous = period;
    ++kept;
    verdicts[i].keep = true;
    verdicts[i].reasons.emplace_back(r.reason);
  }
}

void plan_name(std::span<prune_candidate const> candidates, std::span<prune_verdict> verdicts,
               prune_policy const& policy) {
  for (std::size_t i = candidates.size(), kept = 0; i-- > 0 && kept < policy.last; ++kept) {
    verdicts[i].keep = true;
    verdicts[i].reasons.emplace_back("last");
  }
  for (auto const& r :
       {rule{"daily", policy.daily, day_number}, rule{"weekly", policy.weekly, week_number},
        rule{"monthly", policy.monthly, month_number},
        rule{"yearly", policy.yearly, year_number}}) {
    apply(r, candidates, verdicts);
  }
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    // Without a date no rule but the first can say anything about it.
    if (!candidates[i].moment) {
      verdicts[i].keep = true;
      verdicts[i].reasons.emplace_back("no date");
    }
    if (candidates[i].is_protected) {
      verdicts[i].keep = true;
      verdicts[i].reasons.emplace_back("protected");
    }
  }
  DISKDUMP_ASSERT(candidates.empty() || verdicts.back().keep);
}

// What cannot be read to its end does not count.
std::vector<manifest_entry> readable(std::string const& base, std::vector<manifest_entry> entries,
                                     unsigned threads, work_monitor& monitor, prune_plan& plan) {
  std::vector<char> good(entries.size(), 0);
  list_source const lists(base);
  std::mutex mutex;
  monitor.enter("reading manifests", entries.size());
  run_parallel(entries.size(), threads, [&](std::size_t i) {
    try {
      manifest_reader reader(base + "/" + entries[i].path, lists);
      while (!monitor.stop && reader.next()) {
      }
      good[i] = 1;
    } catch (error const& failure) {
      // Gone meanwhile: nothing to prune.
      bool const gone = is_gone(failure);
      std::lock_guard const lock(mutex);
      if (!gone) plan.damaged.push_back({entries[i].path, failure.what()});
    }
    ++monitor.done;
  });
  std::vector<manifest_entry> kept;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (good[i] != 0) kept.push_back(std::move(entries[i]));
  }
  return kept;
}

// "2026", "2026/04" or "2026/04/24".
bool is_date_folder(std::string_view folder) {
  constexpr std::string_view pattern = "0000/00/00";
  if (folder.size() != 4 && folder.size() != 7 && folder.size() != pattern.size()) return false;
  for (std::size_t i = 0; i < folder.size(); ++i) {
    bool const digit = folder[i] >= '0' && folder[i] <= '9';
    if (pattern[i] == '/' ? folder[i] != '/' : !digit) return false;
  }
  return true;
}

}  // namespace

std::vector<prune_verdict> plan_prune(std::span<prune_candidate const> candidates,
                                      prune_policy const& policy) {
  DISKDUMP_ASSERT(policy.keeps_any());
  std::vector<prune_verdict> verdicts(candidates.size());
  for (std::size_t begin = 0; begin < candidates.size();) {
    auto end = begin;
    while (end < candidates.size() && candidates[end].name == candidates[begin].name) ++end;
    plan_name(candidates.subspan(begin, end - begin),
              std::span(verdicts).subspan(begin, end - begin), policy);
    begin = end;
  }
  return verdicts;
}

prune_plan make_prune_plan(std::string const& base,
                           std::function<bool(std::string const&)> const& wanted,
                           prune_policy const& policy, unsigned threads, work_monitor& monitor) {
  prune_plan plan;
  auto entries = list_manifests(base, [&](std::string const& path, error const& failure) {
    // What the rules would choose is not known while some of the manifests are not.
    if (failure.code() == store_errc::cannot_read) throw failure;
    plan.damaged.push_back({path, failure.what()});
  });
  std::erase_if(entries, [&](manifest_entry const& e) { return !wanted(e.name); });
  entries = readable(base, std::move(entries), threads, monitor, plan);
  std::sort(plan.damaged.begin(), plan.damaged.end(),
            [](auto const& a, auto const& b) { return a.path < b.path; });
  auto const marks = protected_manifests(base);
  std::vector<prune_candidate> candidates;
  for (auto const& e : entries) {
    candidates.push_back({e.name, manifest_moment(e), marks.contains(e.path)});
  }
  auto verdicts = plan_prune(candidates, policy);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    plan.lines.push_back({std::move(entries[i]), std::move(verdicts[i])});
  }
  plan.stopped = monitor.stop;
  return plan;
}

bool remove_manifest(file_system& files, std::string const& path) {
  return writing([&] {
    if (is_protected(files, path) || !files.remove(path)) return false;
    auto folder = path.substr(0, path.rfind('/'));
    files.sync(sync_scope::directory, folder);
    // A folder of 0.1.x stays: its next number is counted from what is in it.
    while (!folder.empty() && is_date_folder(folder) && files.list_directory(folder).empty()) {
      try {
        if (!files.remove(folder)) break;
      } catch (error const&) {
        break;  // a dump has put its manifest there meanwhile
      }
      auto const slash = folder.rfind('/');
      folder = slash == std::string::npos ? "" : folder.substr(0, slash);
      files.sync(sync_scope::directory, folder);
    }
    return true;
  });
}

}  // namespace diskdump
