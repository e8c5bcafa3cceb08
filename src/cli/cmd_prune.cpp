// prune: what the rules keep and why; then the other manifests go, then their blocks.
#include <cstdio>

#include "base/format.hpp"
#include "cli/collection.hpp"
#include "cli/commands.hpp"
#include "cli/json_events.hpp"
#include "cli/json_reports.hpp"
#include "cli/monitored.hpp"
#include "cli/name_patterns.hpp"
#include "cli/text.hpp"

namespace diskdump {

namespace {

std::string joined(std::vector<std::string> const& words) {
  std::string text;
  for (auto const& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

void print(prune_plan const& plan, bool dry_run) {
  std::string const* name = nullptr;
  for (auto const& [entry, verdict] : plan.lines) {
    if (name == nullptr || *name != entry.name) std::printf("%s:\n", entry.name.c_str());
    name = &entry.name;
    auto const what = verdict.keep ? "keep" : dry_run ? "would remove" : "remove";
    std::printf("%s\n",
                format("  {:<{}}  {}  {}  {}", what, dry_run ? 12 : 6,
                       printable(entry.header.date, 64), entry.path, joined(verdict.reasons))
                    .c_str());
  }
}

std::uint64_t removals(prune_plan const& plan) {
  std::uint64_t count = 0;
  for (auto const& l : plan.lines) count += l.verdict.keep ? 0 : 1;
  return count;
}

std::set<std::string> removed_by(prune_plan const& plan) {
  std::set<std::string> paths;
  for (auto const& l : plan.lines) {
    if (!l.verdict.keep) paths.insert(l.entry.path);
  }
  return paths;
}

// The oldest first, so that whatever ends it, the newest are left.
std::uint64_t carry_out(global_options const& global, runtime& process, prune_plan const& plan) {
  std::uint64_t removed = 0;
  run_monitored(process, global, "prune", [&](work_monitor& monitor) {
    auto const files = make_posix_file_system(global.base);
    monitor.enter("removing manifests", removals(plan));
    for (auto const& l : plan.lines) {
      if (monitor.stop) return;
      if (l.verdict.keep) continue;
      removed += remove_manifest(*files, l.entry.path) ? 1 : 0;
      ++monitor.done;
    }
  });
  return removed;
}

}  // namespace

exit_code run_verb(global_options const& global, prune_arguments const& arguments) {
  static_cast<void>(open_store(global.base, {.read_only = true}));
  runtime process(global);
  name_patterns const wanted(arguments.names);
  prune_plan plan;
  run_monitored(process, global, "prune", [&](work_monitor& monitor) {
    plan = make_prune_plan(
        global.base, [&](std::string const& name) { return wanted.match(name); }, arguments.policy,
        process.workers.threads(), monitor);
  });
  if (plan.stopped || process.interrupted()) return exit_code::interrupted;
  for (auto const& damaged : plan.damaged) {
    auto const text = damaged.why + "; left alone";
    report_error(text);
    if (global.json) json_error_event(text);
  }
  std::vector<std::string> names;
  for (auto const& l : plan.lines) names.push_back(l.entry.name);
  wanted.require_each(names);
  if (!global.json && !global.quiet) print(plan, arguments.dry_run);
  if (global.json) {
    for (auto const& l : plan.lines) json_prune_event(l);
  }

  auto const removed = arguments.dry_run ? 0 : carry_out(global, process, plan);
  auto const removable = removals(plan);
  if (global.json) {
    json_prune_summary({.kept = plan.lines.size() - removable,
                        .removed = arguments.dry_run ? removable : removed,
                        .damaged = plan.damaged.size(),
                        .dry_run = arguments.dry_run});
  } else if (!global.quiet) {
    std::printf(
        "%s\n",
        arguments.dry_run
            ? format("{} of {} manifests would be removed", removable, plan.lines.size()).c_str()
            : format("{} of {} manifests removed", removed, plan.lines.size()).c_str());
    std::fflush(stdout);
  }
  if (process.interrupted()) return exit_code::interrupted;

  // From here on the manifests are gone for good, unless dry; their blocks are gc's.
  auto code = plan.damaged.empty() ? exit_code::ok : exit_code::failed;
  if (!arguments.collect) return code;
  // Without the manifests that would go, what gc would delete is what a prune frees.
  gc_options options{.dry_run = arguments.dry_run, .wait = arguments.wait};
  if (arguments.dry_run) options.without = removed_by(plan);
  auto const collected = run_collection(process, global, std::move(options));
  return collected == exit_code::ok ? code : collected;
}

}  // namespace diskdump
