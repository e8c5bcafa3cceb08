#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/commands.hpp"
#include "cli/fleet_screen.hpp"
#include "cli/json_events.hpp"
#include "cli/screen_text.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"
#include "io/disk.hpp"
#include "io/rename_noreplace.hpp"
#include "io/unique_fd.hpp"
#include "pipeline/restore.hpp"
#include "store/lease.hpp"

namespace diskdump {

namespace {

enum class output_kind : std::uint8_t { stdout_stream, file, block_device };

output_kind kind_of(std::optional<std::string> const& output, bool force) {
  if (!output) {
    if (::isatty(STDOUT_FILENO) == 1) {
      throw error(pipeline_errc::output_exists, severity::permanent)
          .cause("stdout is a terminal")
          .remedy("give -o FILE, or pipe the image to a program");
    }
    return output_kind::stdout_stream;
  }
  struct stat found{};
  if (::stat(output->c_str(), &found) != 0) {
    if (errno == ENOENT) return output_kind::file;
    throw errno_error(errno, "looking at the output").path(*output);
  }
  if (S_ISBLK(found.st_mode)) return output_kind::block_device;
  if (!S_ISREG(found.st_mode)) {
    throw error(pipeline_errc::output_exists, severity::permanent)
        .path(*output)
        .cause("it is neither a regular file nor a block device")
        .remedy("name a file, a block device, or leave -o out to write to stdout");
  }
  if (!force) {
    throw error(pipeline_errc::output_exists, severity::permanent)
        .path(*output)
        .remedy("remove it, choose another name, or use --force to replace it");
  }
  return output_kind::file;
}

// A file that is not yet whole lies beside its place under a name nobody waits for, and goes away
// unless it is published.
class partial_file {
 public:
  partial_file(std::string final_path, bool replace)
      : final_path_(std::move(final_path)), replace_(replace) {
    std::filesystem::path const final_name(final_path_);
    std::uint64_t random = 0;
    static_cast<void>(::getrandom(&random, sizeof random, 0));
    path_ = (final_name.parent_path() /
             format(".{}.{:016x}.partial", final_name.filename().string().substr(0, 200), random))
                .string();
  }
  ~partial_file() {
    if (!published_) ::unlink(path_.c_str());
  }
  partial_file(partial_file const&) = delete;
  partial_file& operator=(partial_file const&) = delete;

  [[nodiscard]] std::string const& path() const noexcept { return path_; }

  void publish() {
    int const failed =
        replace_ ? (::rename(path_.c_str(), final_path_.c_str()) == 0 ? 0 : errno)
                 : rename_over_placeholder_at(AT_FDCWD, path_.c_str(), final_path_.c_str());
    if (failed != 0) throw errno_error(failed, "giving the image its name").path(final_path_);
    published_ = true;
    // The name itself must survive a power cut.
    auto folder = std::filesystem::path(final_path_).parent_path();
    if (folder.empty()) folder = ".";
    unique_fd const opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (opened) ::fsync(opened.get());
  }

 private:
  std::string final_path_;
  std::string path_;
  bool replace_;
  bool published_ = false;
};

task<> to_file(runtime& process, restore_context& context, manifest_reader manifest,
               std::string path, bool force, restore_progress& progress) {
  partial_file partial(path, force);
  auto const size = manifest.header().geometry.image_bytes;
  auto const out = create_file_disk(process.executor(), process.writers, partial.path(), size);
  co_await restore_to_disk(context, std::move(manifest), *out, true, progress);
  co_await out->sync();
  partial.publish();
}

task<> to_device(runtime& process, restore_context& context, manifest_reader manifest,
                 std::string path, restore_progress& progress) {
  // Buffered: the last block of an image need not be a multiple of the sector, and sync() makes all
  // of it durable at the end.
  auto const out = open_disk(process.executor(), process.writers, path,
                             {.access = disk_access::write, .direct_io = false});
  auto const image_bytes = manifest.header().geometry.image_bytes;
  if (out->properties().size_bytes < image_bytes) {
    throw error(pipeline_errc::output_too_small, severity::permanent)
        .path(path)
        .cause(format("the device has {} bytes, the image {}", out->properties().size_bytes,
                      image_bytes));
  }
  co_await restore_to_disk(context, std::move(manifest), *out, false, progress);
  co_await out->sync();
}

task<> restore_any(runtime& process, restore_context& context, manifest_reader manifest,
                   restore_arguments const& options, output_kind kind, restore_progress& progress) {
  switch (kind) {
    case output_kind::stdout_stream:
      co_await restore_to_stream(context, std::move(manifest), STDOUT_FILENO, progress);
      break;
    case output_kind::file:
      co_await to_file(process, context, std::move(manifest), *options.output, options.force,
                       progress);
      break;
    case output_kind::block_device:
      co_await to_device(process, context, std::move(manifest), *options.output, progress);
      break;
  }
}

// Redraws until cancelled.
task<> show_restore(timer_source& timers, std::string name, restore_progress const& progress,
                    terminal_lines& lines) {
  rate_meter rate;
  for (;;) {
    rate.note(timers.clock().now(), progress.done_bytes);
    work_figures figures;
    figures.bytes_done = progress.done_bytes;
    figures.bytes_total = progress.image_bytes;
    figures.read_rate = rate.over(limits::rate_window);
    if (auto const speed = rate.over(limits::eta_window); speed && *speed >= 1) {
      auto const rest = static_cast<double>(progress.image_bytes - progress.done_bytes);
      figures.left = std::chrono::duration<double>(rest / *speed);
    }
    auto const columns = size_of_terminal(STDERR_FILENO).columns - 1;
    lines.draw({transfer_line(screen_text(name), figures, columns)});
    co_await timers.sleep(limits::progress_interval);
  }
}

// Ends the display when the restore has ended well; a failure ends it by itself.
task<> restore_then_end(runtime& process, restore_context& context, manifest_reader manifest,
                        restore_arguments const& options, output_kind kind,
                        restore_progress& progress, scope& both, bool& whole) {
  co_await restore_any(process, context, std::move(manifest), options, kind, progress);
  whole = true;
  both.cancel();
}

task<exit_code> restore_with_display(runtime& process, restore_context& context,
                                     manifest_reader manifest, restore_arguments const& options,
                                     output_kind kind, restore_progress& progress,
                                     terminal_lines* live) {
  bool whole = false;
  try {
    co_await with_scope([&](scope& both) {
      if (live != nullptr) {
        both.spawn(show_restore(process.timers, options.manifest, progress, *live));
      }
      both.spawn(restore_then_end(process, context, std::move(manifest), options, kind, progress,
                                  both, whole));
    });
  } catch (...) {
    if (!whole) throw;
  }
  if (live != nullptr) live->clear();
  co_return exit_code::ok;
}

// A collector waits for leases before it deletes blocks, also those of a manifest that is removed
// while it is restored. Where the store cannot be written, nobody collects on this side either, so
// the restore goes on without.
std::optional<dump_lease> lease_if_possible(std::string const& base, std::string const& manifest) {
  try {
    return std::optional<dump_lease>(std::in_place, base, "restore of " + printable(manifest));
  } catch (error const&) {
    return std::nullopt;
  }
}

}  // namespace

exit_code run_verb(global_options const& global, restore_arguments const& options) {
  auto const store = open_store(global.base, {.read_only = true});
  auto const lease = lease_if_possible(global.base, options.manifest);
  auto const path = find_manifest(global.base, options.manifest);
  manifest_reader manifest(path, *store);
  auto const kind = kind_of(options.output, options.force);
  if (kind == output_kind::stdout_stream && global.json) {
    throw usage_error("restore: --json and the image cannot both go to stdout; give -o FILE");
  }

  runtime process(global);
  worker_pool readers(std::max(limits::reader_threads_min, process.workers.threads()));
  restore_context context{process.executor(), readers, process.writers, *store};
  restore_progress progress;
  terminal_lines lines;
  bool const show = terminal_lines::available() && !global.quiet && !global.json;
  if (show) process.show_line = lines.as_line_writer();

  auto const started = process.timers.clock().now();
  auto const code = process.run(restore_with_display(process, context, std::move(manifest), options,
                                                     kind, progress, show ? &lines : nullptr));
  std::chrono::duration<double> const time = process.timers.clock().now() - started;
  if (code != exit_code::ok) return code;
  auto const output = options.output.value_or("-");
  if (global.json) {
    json_restore_event(path, output, progress.image_bytes, progress.zero_bytes, time.count());
  } else if (!global.quiet) {
    auto const text = format("{} -> {}: {} in {} ({}), every block verified\n", path, output,
                             size_text(progress.image_bytes), time_text(time),
                             rate_text(progress.image_bytes, time));
    std::fwrite(text.data(), 1, text.size(), kind == output_kind::stdout_stream ? stderr : stdout);
  }
  return code;
}

}  // namespace diskdump
