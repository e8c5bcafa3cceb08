// What fills the store: dump and import.
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/options_load.hpp"
#include "cli/screen_text.hpp"
#include "cli/targets_file.hpp"
#include "cli/values.hpp"
#include "cli/verb_syntax.hpp"
#include "store/manifest.hpp"

namespace diskdump {

namespace {

constexpr char const* dump_footer =
    "Targets: [USER@]HOST:PATH[:PATH…]; sda, vda and nvme0n1 mean /dev/…; localhost: is read "
    "without SSH.\n"
    "After a target, and applying to it:\n"
    "  --sudo                      run the agent there with sudo, without a password\n"
    "                              unless --ask-sudo-password asks for one\n"
    "  --as NAME                   name of the manifest (default: HOST-DEV)\n"
    "  --pre CMD, --post CMD       sh runs CMD there before and after the dump, with sudo where "
    "the\n"
    "                              target has --sudo; before the first target they are for all.\n"
    "                              If --pre fails nothing is dumped. --post always runs once "
    "--pre\n"
    "                              was begun: also after a failure, Ctrl-C or a lost connection.\n"
    "                              DISKDUMP_HOST, _PATH and _NAME tell the target, for --post\n"
    "                              DISKDUMP_STATUS is ok or failed. Ten minutes each at most.\n"
    "                              Each path has its own, and paths of one machine run at the\n"
    "                              same time.\n"
    "A list for --targets-from has one target with its flags a line, quoted as in a shell, and\n"
    "comments that begin with #.\n\n"
    "Examples:\n"
    "  diskdump dump server01:/dev/sda --sudo server02:/dev/sda --as server02-root\n"
    "  diskdump dump root@server03:sda:sdb\n"
    "  diskdump dump db1:/dev/vg/snap --sudo --pre 'lvcreate -s -n snap -L 5G vg/root' \\\n"
    "    --post 'lvremove -f vg/snap'\n"
    "Exit: 0 all well, 1 some target failed, 2 usage, 130 interrupted.";

std::uint32_t checked_batch_blocks(std::uint64_t blocks) {
  if (blocks < 1 || blocks > limits::batch_blocks_max) {
    throw usage_error(format("--batch-size: {} is not a number of blocks between 1 and {}", blocks,
                             limits::batch_blocks_max));
  }
  return static_cast<std::uint32_t>(blocks);
}

// ---- What reading an image into the store takes, from wherever it comes -------------------------

struct raw_reading {
  std::string batch_size = "80", durable = "barrier";
  std::optional<std::string> block_size;
  bool skip_bad = false;
};

void declare_reading(option_set& options, raw_reading& raw) {
  options.text("--block-size", raw.block_size, "N",
               "bytes (default: the store's; 131072 for a new store)");
  options.text("--batch-size", raw.batch_size, "N", "blocks in memory per target (default: 80)");
  options.choice("--durability", raw.durable, {"barrier", "none"},
                 "barrier: what a manifest names survives a power cut (default); none");
  options.flag("--skip-bad-sectors", raw.skip_bad,
               "zeros for what cannot be read, recorded in the manifest");
}

void finish_reading(raw_reading const& raw, dump_arguments& o) {
  o.level = raw.durable == "none" ? durability::none : durability::barrier;
  o.skip_bad_sectors = raw.skip_bad;
  if (raw.block_size) {
    o.block_bytes = parse_block_size("--block-size", *raw.block_size);
  }
  o.batch_blocks = checked_batch_blocks(parse_size("--batch-size", raw.batch_size));
  auto const batch_bytes =
      std::uint64_t{o.batch_blocks} * o.block_bytes.value_or(limits::block_bytes_default);
  if (batch_bytes > limits::batch_bytes_max) {
    throw usage_error(format("--batch-size: {} blocks are {} bytes; {} at most", o.batch_blocks,
                             batch_bytes, limits::batch_bytes_max));
  }
}

// ---- dump
// -----------------------------------------------------------------------------------------

struct raw_dump {
  raw_reading reading;
  raw_load load;
  std::string user, config, wire = "auto", transport = "auto", agent = "auto";
  std::vector<std::string> identities;
  std::optional<std::string> pre, post;
  std::uint64_t port = 0;
  std::uint64_t active = limits::targets_active_default;
  std::uint64_t retries = limits::retries_default;
  std::uint64_t timeout_s = static_cast<std::uint64_t>(limits::silence_timeout_max.count());
  bool accept_new = false, resume = false, ask_sudo_password = false;
  std::vector<std::string> targets_from;
  std::optional<std::string> metrics;
};

void declare_dump(option_set& options, raw_dump& raw) {
  options.texts("--targets-from", raw.targets_from, "FILE",
                "more targets, one a line with its flags; - is stdin (repeatable)");
  options.text("--metrics", raw.metrics, "FILE",
               "at the end, write what became of it for Prometheus' node_exporter");
  options.text("-u,--user", raw.user, "USER", "SSH user");
  options.number("-p,--port", raw.port, 1, 65535, "SSH port");
  options.texts("-i,--identity", raw.identities, "FILE", "private key (repeatable)");
  options.text("-F,--ssh-config", raw.config, "FILE", "ssh_config to use, or none");
  options.number("-j,--jobs", raw.active, 1, limits::targets_max,
                 "targets at work at the same time (default: 32)");
  options.number("--retries", raw.retries, 0, limits::retries_max,
                 "further attempts after a lost connection (default: 2); each goes on where the "
                 "one before broke off");
  options.number("--timeout", raw.timeout_s, 1,
                 static_cast<std::uint64_t>(limits::timeout_max.count()),
                 "seconds without a byte after which a target has failed (default: 60)");
  options.flag("--resume", raw.resume,
               "go on with what an interrupted dump of the same source and size left");
  declare_reading(options, raw.reading);
  options.choice(
      "--wire", raw.wire, {"auto", "lz4", "zlib", "none"},
      "compression on the wire (default: auto: lz4, and zlib where a slow link makes that faster)");
  options.choice("--transport", raw.transport, {"auto", "libssh2", "openssh"},
                 "how SSH is spoken (default: auto)");
  options.choice("--agent", raw.agent, {"auto", "native", "python"},
                 "what runs on the target (default: auto)");
  options.flag("--accept-new-host-keys", raw.accept_new,
               "add unknown host keys to known_hosts; changed ones are refused all the same");
  options.flag("--ask-sudo-password", raw.ask_sudo_password,
               "ask once for the password of sudo, for all targets with --sudo");
  options.text("--pre", raw.pre, "CMD", "shell command on the target before its dump (see below)");
  options.text("--post", raw.post, "CMD", "and after it, whatever became of the dump");
  declare_load(options, raw.load);
}

// Two images of one name would be each other's versions, and an interrupted one of them would be
// taken for that of the other. Two dumps of one disk would also run --pre and --post into each
// other.
void check_distinct(std::vector<fleet_target> const& targets) {
  std::map<std::string, fleet_target const*> by_name;
  for (auto const& t : targets) {
    auto const [at, is_new] = by_name.try_emplace(t.manifest_name, &t);
    if (is_new) continue;
    auto const& other = *at->second;
    bool const same = other.label == t.label && other.ssh.user == t.ssh.user;
    throw usage_error(screen_text(
        same ? format("{} is given twice", t.label)
             : format("{} and {} would both be called {}; give one of them another name with --as",
                      other.label, t.label, t.manifest_name)));
  }
}

std::vector<fleet_target> fleet_targets(std::vector<target_argument> const& given,
                                        raw_dump const& raw, ssh_options const& ssh) {
  auto const pre = raw.pre.value_or(""), post = raw.post.value_or("");
  if (raw.pre) check_target_command("--pre", pre);
  if (raw.post) check_target_command("--post", post);
  std::vector<fleet_target> out;
  for (auto const& t : given) {
    for (auto const& path : t.paths) {
      fleet_target target;
      target.label = t.host + ":" + path;
      target.host = t.host;
      target.ssh = ssh;
      if (!t.user.empty()) target.ssh.user = t.user;
      target.sudo = t.sudo;
      target.pre = t.pre.empty() ? pre : t.pre;
      target.post = t.post.empty() ? post : t.post;
      target.path = path;
      try {
        if (path.size() > limits::path_bytes_max) throw usage_error("the path is too long");
        if (t.name.empty()) {
          target.manifest_name = default_manifest_name(t.host, path);
        } else {
          check_manifest_name(t.name);
          target.manifest_name = t.name;
        }
      } catch (std::exception const& e) {
        auto const where = t.where.empty() ? "" : t.where + ": ";
        throw usage_error(screen_text(format("{}{}: {}", where, target.label, e.what())));
      }
      out.push_back(std::move(target));
    }
  }
  check_distinct(out);
  if (out.empty()) throw usage_error("dump: no target; write HOST:PATH, or --targets-from FILE");
  if (out.size() > limits::targets_max) {
    throw usage_error(format("dump: {} targets, {} at most", out.size(), limits::targets_max));
  }
  return out;
}

// Those of the command line, then those of the lists.
std::vector<target_argument> all_targets(std::vector<target_argument> given,
                                         std::vector<std::string> const& lists) {
  if (std::count(lists.begin(), lists.end(), "-") > 1) {
    throw usage_error("--targets-from - can be given once: stdin is read once");
  }
  for (auto const& list : lists) {
    for (auto& target : read_targets_file(list)) given.push_back(std::move(target));
    if (given.size() > limits::targets_max) break;  // fleet_targets() says so
  }
  return given;
}

template <class Value>
Value choice_of(std::string const& text, std::map<std::string, Value> const& values) {
  return values.at(text);
}

dump_arguments finish_dump(raw_dump const& raw, std::vector<target_argument> const& given) {
  dump_arguments o;
  if (!raw.user.empty()) o.ssh.user = raw.user;
  if (raw.port != 0) o.ssh.port = static_cast<std::uint16_t>(raw.port);
  o.ssh.identity_files = raw.identities;
  if (!raw.config.empty()) o.ssh.config_file = raw.config;
  o.ssh.accept_new_host_keys = raw.accept_new;
  o.ssh.transport =
      choice_of<transport_choice>(raw.transport, {{"auto", transport_choice::automatic},
                                                  {"libssh2", transport_choice::libssh2},
                                                  {"openssh", transport_choice::openssh}});
  o.agent = choice_of<agent_choice>(raw.agent, {{"auto", agent_choice::automatic},
                                                {"native", agent_choice::native},
                                                {"python", agent_choice::python}});
  o.codec = choice_of<codec_policy>(raw.wire, {{"auto", codec_policy::lz4},
                                               {"lz4", codec_policy::lz4},
                                               {"zlib", codec_policy::zlib},
                                               {"none", codec_policy::none}});
  o.codec_automatic = raw.wire == "auto";
  o.targets_active_max = raw.active;
  o.retries = static_cast<unsigned>(raw.retries);
  o.silence_max = std::chrono::seconds(raw.timeout_s);
  o.resume = raw.resume;
  o.keep_interrupted = true;
  o.metrics = raw.metrics;
  if (o.metrics && o.metrics->empty()) throw usage_error("--metrics: the name is empty");
  finish_reading(raw.reading, o);
  finish_load(raw.load, o);
  o.targets = fleet_targets(all_targets(given, raw.targets_from), raw, o.ssh);
  o.ask_sudo_password = raw.ask_sudo_password;
  if (o.ask_sudo_password &&
      std::none_of(o.targets.begin(), o.targets.end(), [](auto const& t) { return t.sudo; })) {
    throw usage_error("--ask-sudo-password: no target has --sudo");
  }
  if (o.block_bytes) check_load(o, *o.block_bytes);
  return o;
}

verb_syntax dump_syntax() {
  auto const raw = std::make_shared<raw_dump>();
  return {"dump",
          "pull disks or files of machines into the store",
          dump_footer,
          [raw](option_set& options) { declare_dump(options, *raw); },
          [raw](auto const& targets) { return finish_dump(*raw, targets); },
          true};
}

// ---- import
// ---------------------------------------------------------------------------------------

constexpr char const* import_footer =
    "The image is read and stored as a dump of it would be, and appears as HOST:DEV of that date:\n"
    "  diskdump import old.img --as server01:/dev/sda --date 2024-12-31\n"
    "DEV is /dev/sda unless given. DATE is ISO 8601, UTC unless it names a zone; without it, now.";

struct raw_import {
  raw_reading reading;
  std::string image, source;
  std::optional<std::string> date;
};

// HOST, or HOST:DEV.
target_argument import_source(std::string const& text) {
  auto source = parse_target(text.find(':') == std::string::npos ? text + ":/dev/sda" : text);
  if (!source.user.empty()) throw usage_error("--as: a user has no meaning here; write HOST:DEV");
  if (source.paths.size() != 1) throw usage_error("--as: one device only; write HOST:DEV");
  return source;
}

import_arguments finish_import(raw_import const& raw) {
  import_arguments out;
  out.dump.verb = "import";
  out.dump.targets_active_max = 1;
  finish_reading(raw.reading, out.dump);
  if (raw.image.empty()) throw usage_error("import: the name of the image is empty");
  auto const source = import_source(raw.source);
  fleet_target target;
  target.host = "localhost";
  target.label = raw.image;
  target.path = std::filesystem::absolute(raw.image).lexically_normal().string();
  if (target.path.size() > limits::path_bytes_max)
    throw usage_error("import: the path is too long");
  target.source = source.host + ":" + source.paths.front();
  try {
    target.manifest_name = default_manifest_name(source.host, source.paths.front());
  } catch (std::exception const& e) {
    throw usage_error(format("--as: {}", e.what()));
  }
  if (raw.date) target.date = parse_moment("--date", *raw.date);
  out.dump.targets.push_back(std::move(target));
  return out;
}

verb_syntax import_syntax() {
  auto const raw = std::make_shared<raw_import>();
  return {"import", "take an image that lies on this machine into the store", import_footer,
          [raw](option_set& options) {
            options.argument("IMAGE", raw->image, "a file or block device");
            options.required_text("--as", raw->source, "HOST[:DEV]", "where the image came from");
            options.text("--date", raw->date, "DATE", "when it was taken (default: now)");
            declare_reading(options, raw->reading);
          },
          [raw](auto const&) { return finish_import(*raw); }};
}

}  // namespace

std::vector<verb_syntax> dump_verbs() { return {dump_syntax(), import_syntax()}; }

}  // namespace diskdump
