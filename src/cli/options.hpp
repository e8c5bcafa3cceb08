// What the command line says, before anything is opened. Parsing ends the process only through the
// exceptions below, so that it can be tested.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bench/run.hpp"
#include "pipeline/fleet.hpp"
#include "store/block_store.hpp"
#include "store/prune.hpp"

namespace diskdump {

// Exit codes of every verb.
enum class exit_code : int { ok = 0, failed = 1, usage = 2, interrupted = 130 };

// Wrong usage: the text goes to stderr, the process ends with exit_code::usage.
class usage_error final : public std::exception {
 public:
  explicit usage_error(std::string text) : text_(std::move(text)) {}
  [[nodiscard]] char const* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

struct global_options {
  std::string base = ".";
  bool json = false;
  bool quiet = false;
  bool verbose = false;
};

// ---- Each verb's arguments ----------------------------------------------------------------------

struct help_arguments {
  std::string text;  // to be printed on stdout
};

struct dump_arguments {
  std::string_view verb = "dump";  // or import
  ssh_options ssh;
  std::size_t targets_active_max = 0;
  std::optional<std::uint32_t> block_bytes;  // the store's where not given
  std::uint32_t batch_blocks = 0;
  codec_policy codec = codec_policy::lz4;
  bool codec_automatic = true;
  agent_choice agent = agent_choice::automatic;
  bool skip_bad_sectors = false;
  transfer_rates rates;
  bool low_priority = false;
  std::uint16_t agent_threads_max = 0;  // 0: all cores
  bool ask_sudo_password = false;
  durability level = durability::barrier;
  unsigned retries = 0;
  std::chrono::seconds silence_max = limits::silence_timeout_max;
  bool resume = false;
  bool keep_interrupted = false;       // for a later run with --resume
  std::optional<std::string> metrics;  // the file
  std::vector<fleet_target> targets;
};

// A dump of one target: a file on this machine, under the name of the machine it came from.
struct import_arguments {
  dump_arguments dump;
};

struct restore_arguments {
  std::string manifest;
  std::optional<std::string> output;  // none or "-": stdout
  bool force = false;
};

// Those whose name matches one of the patterns, made in this time; no patterns: all.
struct list_arguments {
  std::vector<std::string> names;
  std::optional<clock_source::wall> since, until;
};

struct info_arguments {
  std::string manifest;
  bool digests = false;  // the list of them, and nothing else
};

struct status_arguments {};

struct diff_arguments {
  std::string before, after;
  bool all = false;  // ranges
};

struct init_arguments {
  std::optional<store_format> format;
  std::optional<std::uint32_t> block_bytes;
};

// All images where none are named.
struct copy_arguments {
  std::vector<std::string> manifests;
  std::string to;  // DIR of the other store
  std::optional<store_format> format;
};

struct protect_arguments {
  std::string manifest;
  bool protect = true;
};

struct prune_arguments {
  std::vector<std::string> names;  // patterns; none: all
  prune_policy policy;
  bool dry_run = false;
  bool collect = true;
  bool wait = false;
};

struct gc_arguments {
  bool dry_run = false;
  bool wait = false;
};

struct verify_arguments {
  std::optional<std::string> manifest;
  std::optional<double> sample_percent;
  bool repair = true;
};

struct reindex_arguments {
  bool quick = false;
};

struct bench_arguments {
  bench_options bench;
  std::optional<std::string> page;  // the file
};

using verb_arguments =
    std::variant<help_arguments, dump_arguments, import_arguments, restore_arguments,
                 list_arguments, copy_arguments, info_arguments, status_arguments, diff_arguments,
                 init_arguments, protect_arguments, prune_arguments, gc_arguments, verify_arguments,
                 reindex_arguments, bench_arguments>;

struct command {
  global_options global;
  verb_arguments verb;
};

// `arguments` are argv without the program's name. Throws usage_error.
[[nodiscard]] command parse_command_line(std::vector<std::string> arguments);

}  // namespace diskdump
