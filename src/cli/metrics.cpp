#include "cli/metrics.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>

#include "base/format.hpp"
#include "cli/screen_text.hpp"
#include "io/io_errc.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

namespace {

double unix_seconds(clock_source::wall time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

// A label's value between its quotes. It must be UTF-8; what is none, and what nobody should have
// to read raw, is written as an escape.
std::string escaped(std::string_view value) {
  std::string out;
  for (char const c : screen_text(value)) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

// One sample of a target; nullopt where it is not known.
using sample = std::function<std::optional<double>(fleet_target const&, target_record const&)>;

struct family {
  char const* name;
  char const* help;
  sample value;
};

std::optional<double> time_of(std::optional<clock_source::wall> const& time) {
  if (!time) return std::nullopt;
  return unix_seconds(*time);
}

std::vector<family> target_families() {
  using target = fleet_target const&;
  using record = target_record const&;
  return {
      {"success", "1 if the image was dumped and its manifest published, else 0.",
       [](target t, record) { return t.failure || !t.manifest ? 0.0 : 1.0; }},
      {"start_time_seconds", "When the dump of the target began, since 1970.",
       [](target, record r) { return time_of(r.started); }},
      {"end_time_seconds", "When the dump of the target ended, since 1970.",
       [](target, record r) { return r.started ? time_of(r.ended) : std::nullopt; }},
      {"duration_seconds",
       "How long the dump of the target took, pauses between attempts included.",
       [](target t, record) -> std::optional<double> {
         return std::chrono::duration<double>(t.progress.ended - t.progress.started).count();
       }},
      {"image_bytes", "Size of the image.",
       [](target t, record) { return static_cast<double>(t.progress.image_bytes); }},
      {"stored_blocks", "Blocks of the image that were new to the store.",
       [](target t, record) { return static_cast<double>(t.progress.blocks_stored.value); }},
      {"reused_blocks", "Blocks of the image that the store held, or another target sent.",
       [](target t, record) { return static_cast<double>(t.progress.blocks_reused.value); }},
      {"zero_blocks", "Blocks of the image that are zeros or holes.",
       [](target t, record) { return static_cast<double>(t.progress.blocks_zero.value); }},
      {"resumed_blocks", "Blocks of the image that an interrupted dump had got already.",
       [](target t, record) { return static_cast<double>(t.progress.blocks_resumed.value); }},
      {"unreadable_bytes", "Bytes of the image that could not be read and are stored as zeros.",
       [](target t, record) { return static_cast<double>(t.progress.bad_bytes); }},
      {"wire_bytes", "Bytes that the target sent.",
       [](target t, record) { return static_cast<double>(t.progress.bytes_wire); }},
      {"attempts", "How often the dump of the target was begun.",
       [](target t, record r) {
         return r.started ? static_cast<double>(t.progress.attempts) : 0.0;
       }},
  };
}

void add_family(std::string& out, std::string_view name, std::string_view help) {
  out += format("# HELP diskdump_{0} {1}\n# TYPE diskdump_{0} gauge\n", name, help);
}

// Whole numbers as such; times with the milliseconds that they have.
std::string number(double value) {
  return value == std::floor(value) ? format("{:.0f}", value) : format("{:.3f}", value);
}

std::vector<std::string> labels_of(std::vector<fleet_target> const& targets) {
  std::map<std::string, unsigned> seen;
  std::vector<std::string> out;
  for (auto const& t : targets) {
    auto labels = format("target=\"{}\",name=\"{}\"", escaped(t.label), escaped(t.manifest_name));
    auto const count = ++seen[labels];
    if (count > 1) labels += format(",occurrence=\"{}\"", count);
    out.push_back(std::move(labels));
  }
  return out;
}

struct sums {
  std::uint64_t ok = 0, image = 0, stored = 0, reused = 0, zero = 0, wire = 0, saved = 0;
};

sums sum_of(std::vector<fleet_target> const& targets) {
  sums s;
  for (auto const& t : targets) {
    auto const& p = t.progress;
    bool const ok = !t.failure && t.manifest;
    s.ok += ok ? 1 : 0;
    s.image += p.image_bytes;
    s.stored += p.blocks_stored.value;
    s.reused += p.blocks_reused.value;
    s.zero += p.blocks_zero.value;
    s.wire += p.bytes_wire;
    if (ok && p.image_bytes > p.bytes_wire) s.saved += p.image_bytes - p.bytes_wire;
  }
  return s;
}

}  // namespace

std::string metrics_text(std::vector<fleet_target> const& targets, fleet_watch const& watch,
                         clock_source::wall ended) {
  std::string out;
  auto const labels = labels_of(targets);
  for (auto const& f : target_families()) {
    add_family(out, format("target_{}", f.name), f.help);
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (auto const value = f.value(targets[i], watch.record(i))) {
        out += format("diskdump_target_{}{{{}}} {}\n", f.name, labels[i], number(*value));
      }
    }
  }
  auto const total = [&](char const* name, char const* help, double value) {
    add_family(out, name, help);
    out += format("diskdump_{} {}\n", name, number(value));
  };
  auto const s = sum_of(targets);
  auto const count = [](std::uint64_t n) { return static_cast<double>(n); };
  total("success", "1 if every target of the last run was dumped, else 0.",
        s.ok == targets.size() ? 1 : 0);
  total("start_time_seconds", "When the last run began, since 1970.",
        unix_seconds(watch.started()));
  total("end_time_seconds", "When the last run ended, since 1970.", unix_seconds(ended));
  total("duration_seconds", "How long the last run took.",
        std::max(0.0, unix_seconds(ended) - unix_seconds(watch.started())));
  total("targets", "Targets of the last run.", count(targets.size()));
  total("targets_failed", "Targets of the last run that were not dumped.",
        count(targets.size() - s.ok));
  total("image_bytes", "Size of all images together.", count(s.image));
  total("stored_blocks", "Blocks that were new to the store.", count(s.stored));
  total("reused_blocks", "Blocks that the store held, or another target sent.", count(s.reused));
  total("zero_blocks", "Blocks that are zeros or holes.", count(s.zero));
  total("wire_bytes", "Bytes that the targets sent.", count(s.wire));
  total("saved_bytes", "Bytes of dumped images that did not cross the wire.", count(s.saved));
  return out;
}

metrics_file::metrics_file(std::string path, std::string_view option) : path_(std::move(path)) {
  struct stat status{};
  if (::stat(path_.c_str(), &status) == 0) {
    // Whatever is no file must not be replaced: a rename would take /dev/null from everybody.
    if (!S_ISREG(status.st_mode)) {
      throw error(S_ISDIR(status.st_mode) ? io_errc::is_directory : io_errc::unsupported_type,
                  severity::permanent)
          .path(path_)
          .remedy(format("{} takes the name of a file", option));
    }
    // Where the name is a link, what it leads to is replaced.
    path_ = std::filesystem::canonical(path_).string();
  } else if (errno != ENOENT) {
    throw disk_error(errno, io_direction::open, "stat", path_);
  }
  ::unlink(make_temporary("").c_str());
}

// Hidden, and not *.prom, which a collector would read.
std::string metrics_file::make_temporary(std::string_view text) const {
  std::filesystem::path const path(path_);
  auto const folder = path.has_parent_path() ? path.parent_path().string() : std::string(".");
  auto const name = format("{}/.{}.{}.tmp", folder, path.filename().string(), ::getpid());
  // Of an earlier process of this number that was killed.
  ::unlink(name.c_str());
  constexpr mode_t for_all_to_read = 0644;  // the collector is another user
  unique_fd const file(
      ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, for_all_to_read));
  if (!file) throw disk_error(errno, io_direction::open, "create a file beside it", path_);
  auto const fail = [&](char const* what) {
    auto const number = errno;
    ::unlink(name.c_str());
    throw disk_error(number, io_direction::write, what, path_);
  };
  if (::fchmod(file.get(), for_all_to_read) != 0) fail("fchmod");
  while (!text.empty()) {
    auto const n = ::write(file.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write");
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(file.get()) != 0) fail("fsync");
  return name;
}

void metrics_file::write(std::string_view text) const {
  auto const temporary = make_temporary(text);
  if (std::rename(temporary.c_str(), path_.c_str()) != 0) {
    auto const number = errno;
    ::unlink(temporary.c_str());
    throw disk_error(number, io_direction::write, "rename", path_);
  }
  std::filesystem::path const path(path_);
  auto const folder = path.has_parent_path() ? path.parent_path().string() : std::string(".");
  unique_fd const names(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!names || ::fsync(names.get()) != 0) {
    throw disk_error(errno, io_direction::write, "fsync", folder);
  }
}

}  // namespace diskdump
