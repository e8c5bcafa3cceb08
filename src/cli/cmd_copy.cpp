// copy: images to another store, with the blocks that it lacks.
#include <cstdio>
#include <filesystem>

#include "base/format.hpp"
#include "cli/commands.hpp"
#include "cli/json_events.hpp"
#include "cli/json_reports.hpp"
#include "cli/monitored.hpp"
#include "cli/name_patterns.hpp"
#include "cli/text.hpp"
#include "store/copy.hpp"
#include "store/lease.hpp"

namespace diskdump {

namespace {

// As restore: where the store cannot be written, nobody collects on this side either.
std::optional<dump_lease> lease_if_possible(std::string const& base, std::string const& text) {
  try {
    return std::optional<dump_lease>(std::in_place, base, text);
  } catch (error const&) {
    return std::nullopt;
  }
}

// DIR of the other store as it was given; made where it is absent, with blocks of the same size.
leased_store open_target(copy_arguments const& arguments, std::uint32_t block_bytes,
                         std::string const& text) {
  auto opened = open_leased_store(
      arguments.to,
      {.create_block_bytes = block_bytes,
       .create_format = arguments.format.value_or(usual_store_format(block_bytes))},
      text);
  auto const& found = opened.store->properties().format;
  if (arguments.format && found != name_of(*arguments.format)) {
    throw error(store_errc::unsupported_store, severity::permanent)
        .path(arguments.to)
        .cause(format("there is a store of format {} already", found))
        .remedy("leave --format out, or choose another folder with --to");
  }
  return opened;
}

struct chosen_image {
  std::string path;
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;
};

// All, or those that were named. What cannot be read is told by the copy itself, but for those that
// nobody named: they count in `damaged`.
std::vector<chosen_image> choose(std::string const& base, copy_arguments const& arguments,
                                 std::vector<std::string>& damaged) {
  std::vector<chosen_image> chosen;
  for (auto const& what : arguments.manifests) {
    auto const path = find_manifest(base, what);
    auto const same = [&](chosen_image const& c) { return c.path == path; };
    if (std::none_of(chosen.begin(), chosen.end(), same)) chosen.push_back({path});
  }
  if (arguments.manifests.empty()) {
    for (auto const& entry : list_manifests(base, [&](std::string const&, error const& failure) {
           damaged.emplace_back(failure.what());
         })) {
      chosen.push_back({base + "/" + entry.path});
    }
  }
  for (auto& image : chosen) {
    try {
      auto const geometry = manifest_reader(image.path).header().geometry;
      image.blocks = geometry.blocks().value;
      image.bytes = geometry.image_bytes;
    } catch (error const&) {
      // Said when its turn comes.
    }
  }
  return chosen;
}

std::string sentence_of(std::string const& shown, image_copy const& done) {
  switch (done.outcome) {
    case image_copy::kind::copied:
      return format("{} -> {}: {}, {} of {} blocks were new there ({})", shown, done.path,
                    size_text(done.image_bytes), done.blocks_copied, done.blocks,
                    size_text(done.stored_bytes_copied));
    case image_copy::kind::present:
      return format("{}: is there already, as {}", shown, done.path);
    case image_copy::kind::failed:
    case image_copy::kind::stopped:
      break;
  }
  return format("{}: not copied", shown);
}

class reporting {
 public:
  reporting(global_options const& global, runtime& process) : global_(global), process_(process) {}

  void add(std::string const& shown, image_copy const& done) {
    using kind = image_copy::kind;
    if (done.outcome == kind::stopped) return;
    totals_.copied += done.outcome == kind::copied ? 1 : 0;
    totals_.present += done.outcome == kind::present ? 1 : 0;
    totals_.failed += done.outcome == kind::failed ? 1 : 0;
    totals_.blocks_copied += done.blocks_copied;
    totals_.stored_bytes_copied += done.stored_bytes_copied;
    if (global_.json) json_copy_event(shown, done);
    if (done.outcome == kind::failed) {
      failed(done.why);
    } else if (!global_.json && !global_.quiet) {
      lines_.push_back(sentence_of(shown, done));
    }
  }

  void add_damaged(std::string const& why) {
    ++totals_.failed;
    if (global_.json) json_error_event(why);
    failed(why);
  }

  void finish(std::chrono::duration<double> time, bool stopped) {
    totals_.seconds = time.count();
    totals_.stopped = stopped;
    if (global_.json) {
      json_copy_summary(totals_);
    } else if (!global_.quiet) {
      // Not before the display has ended.
      for (auto const& line : lines_) std::printf("%s\n", line.c_str());
      std::printf("%s\n",
                  format("{} images copied, {} were there, {} failed; {} blocks, {} in {}",
                         totals_.copied, totals_.present, totals_.failed, totals_.blocks_copied,
                         size_text(totals_.stored_bytes_copied), time_text(time))
                      .c_str());
    }
  }

  [[nodiscard]] bool well() const noexcept { return totals_.failed == 0; }

 private:
  void failed(std::string const& why) { process_.log.write(log_level::error, why); }

  global_options const& global_;
  runtime& process_;
  copy_totals totals_;
  std::vector<std::string> lines_;
};

}  // namespace

exit_code run_verb(global_options const& global, copy_arguments const& arguments) {
  auto const source = open_store(global.base, {.read_only = true});
  opened_store const from{global.base, *source};
  check_can_copy(from, arguments.to);
  auto const text = format("copy from {} to {}", global.base, arguments.to);
  auto const source_lease = lease_if_possible(global.base, text);
  std::vector<std::string> damaged;
  auto const chosen = choose(global.base, arguments, damaged);

  auto const target = open_target(arguments, source->properties().block_bytes, text);
  opened_store const to{arguments.to, *target.store};
  check_same_block_size(from, to);

  runtime process(global);
  reporting report(global, process);
  for (auto const& why : damaged) report.add_damaged(why);
  auto const started = process.timers.clock().now();
  bool stopped = false;
  run_monitored(process, global, "copy", [&](work_monitor& monitor) {
    monitor.enter("looking at what is there");
    image_copier copier(from, to, process.workers.threads(), monitor);
    std::uint64_t blocks = 0;
    std::uint64_t bytes = 0;
    for (auto const& image : chosen) {
      blocks += image.blocks;
      bytes += image.bytes;
    }
    monitor.enter("copying images", blocks, bytes);
    for (auto const& image : chosen) {
      if (monitor.stop) break;
      report.add(shown_manifest(global.base, image.path), copier.copy(image.path));
    }
    stopped = monitor.stop;
  });
  report.finish(process.timers.clock().now() - started, stopped);
  if (process.interrupted()) return exit_code::interrupted;
  return report.well() ? exit_code::ok : exit_code::failed;
}

}  // namespace diskdump
