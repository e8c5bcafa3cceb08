#include "cli/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/target_args.hpp"
#include "store/manifest.hpp"

namespace diskdump {

namespace {

constexpr char const* dump_footer =
    "Targets: [USER@]HOST:PATH[:PATH…]; sda, vda and nvme0n1 mean /dev/…; localhost: is read "
    "without "
    "SSH.\n"
    "After a target, and applying to it:\n"
    "  --sudo                      run the agent there with sudo -n\n"
    "  --as NAME                   name of the manifest (default: HOST-DEV)\n\n"
    "Examples:\n"
    "  diskdump dump server01:/dev/sda --sudo server02:/dev/sda --as server02-root\n"
    "  diskdump dump root@server03:sda:sdb\n"
    "Exit: 0 all well, 1 some target failed, 2 usage, 130 interrupted.";

constexpr char const* restore_footer =
    "MANIFEST: a path (absolute, or below DIR), a NAME (its newest), NAME~1 (the one before), or\n"
    "NAME@2026-04-24 (the newest of that date).\n"
    "Every block is checked against its digest. A file appears under its name only when it is "
    "whole;\nholes are left where the image is zero. A block device in use is refused.";

constexpr std::uint64_t kibi = 1024;

// 131072, 128K, 1M: bytes, or binary multiples.
std::uint64_t parse_size(std::string const& option, std::string const& text) {
  std::uint64_t value = 0;
  auto const* const end = text.data() + text.size();
  auto const [rest, failed] = std::from_chars(text.data(), end, value);
  std::uint64_t factor = 1;
  std::string_view const suffix(rest, static_cast<std::size_t>(end - rest));
  if (suffix == "K" || suffix == "k" || suffix == "KiB")
    factor = kibi;
  else if (suffix == "M" || suffix == "m" || suffix == "MiB")
    factor = kibi * kibi;
  else if (!suffix.empty())
    factor = 0;
  if (failed != std::errc() || factor == 0 || value > ~std::uint64_t{0} / factor) {
    throw usage_error(format("{}: '{}' is not a size; write bytes, or 128K, 1M", option, text));
  }
  return value * factor;
}

std::uint32_t checked_block_bytes(std::uint64_t bytes) {
  if (bytes < limits::block_bytes_min || bytes > limits::block_bytes_max ||
      bytes % limits::block_bytes_multiple != 0) {
    throw usage_error(format("--block-size: {} is not a multiple of {} between {} and {}", bytes,
                             limits::block_bytes_multiple, limits::block_bytes_min,
                             limits::block_bytes_max));
  }
  return static_cast<std::uint32_t>(bytes);
}

std::uint32_t checked_batch_blocks(std::uint64_t blocks) {
  if (blocks < 1 || blocks > limits::batch_blocks_max) {
    throw usage_error(format("--batch-size: {} is not a number of blocks between 1 and {}", blocks,
                             limits::batch_blocks_max));
  }
  return static_cast<std::uint32_t>(blocks);
}

// What CLI11 fills; turned into the options' own types afterwards.
struct raw_dump {
  std::string user, config, batch_size = "80", wire = "auto";
  std::string transport = "auto", agent = "auto", durable = "barrier";
  std::optional<std::string> block_size;
  std::vector<std::string> identities;
  std::uint16_t port = 0;
  std::size_t active = limits::targets_active_default;
  bool accept_new = false, skip_bad = false;
};

struct parser {
  CLI::App app{"Deduplicated disk image transfer over SSH.", "diskdump"};
  CLI::App* dump = nullptr;
  CLI::App* restore = nullptr;
  CLI::App* list = nullptr;
  raw_dump raw;
  restore_options restore_to;
  std::string restore_output;
  global_options global;

  parser();
  [[nodiscard]] bool takes_value(std::string_view option) const;
};

parser::parser() {
  app.set_help_flag("-h,--help", "this text, or that of a verb");
  app.set_version_flag("--version", std::string("diskdump ") + DISKDUMP_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.footer("HOST:PATH … without a verb is the same as dump HOST:PATH ….");
  app.add_option("--base", global.base, "DIR, the folder of the store (default: current)")
      ->envname("DISKDUMP_BASE")
      ->type_name("DIR");
  app.add_flag("--json", global.json, "one JSON object per line on stdout, nothing else");
  app.add_flag("-q,--quiet", global.quiet, "only errors");
  app.add_flag("-v,--verbose", global.verbose, "say what is being done");

  dump = app.add_subcommand("dump", "pull disks or files of machines into the store");
  dump->footer(dump_footer);
  dump->add_option("-u,--user", raw.user, "SSH user")->type_name("USER");
  dump->add_option("-p,--port", raw.port, "SSH port")
      ->check(CLI::Range(1, 65535))
      ->type_name("PORT");
  dump->add_option("-i,--identity", raw.identities, "private key (repeatable)")
      ->take_all()
      ->expected(1)
      ->type_name("FILE");
  dump->add_option("-F,--ssh-config", raw.config, "ssh_config to use, or none")->type_name("FILE");
  dump->add_option("-j,--jobs", raw.active, "targets at work at the same time (default: 32)")
      ->check(CLI::Range(std::size_t{1}, limits::targets_max))
      ->type_name("N");
  dump->add_option("--block-size", raw.block_size,
                   "bytes (default: the store's; 131072 for a new store)")
      ->type_name("N");
  dump->add_option("--batch-size", raw.batch_size, "blocks in memory per target (default: 80)")
      ->type_name("N");
  dump->add_option("--wire", raw.wire, "compression on the wire: auto, lz4, zlib, none")
      ->check(CLI::IsMember({"auto", "lz4", "zlib", "none"}))
      ->type_name("KIND");
  dump->add_option("--transport", raw.transport, "auto, libssh2, openssh (default: auto)")
      ->check(CLI::IsMember({"auto", "libssh2", "openssh"}))
      ->type_name("KIND");
  dump->add_option("--agent", raw.agent, "auto, native, python (default: auto)")
      ->check(CLI::IsMember({"auto", "native", "python"}))
      ->type_name("KIND");
  dump->add_option("--durability", raw.durable,
                   "barrier: what a manifest names survives a power cut (default); none")
      ->check(CLI::IsMember({"barrier", "none"}))
      ->type_name("KIND");
  dump->add_flag("--accept-new-host-keys", raw.accept_new,
                 "add unknown host keys to known_hosts; changed ones are refused all the same");
  dump->add_flag("--skip-bad-sectors", raw.skip_bad,
                 "zeros for what cannot be read, recorded in the manifest");

  restore = app.add_subcommand("restore", "write an image back to a file, a device or stdout");
  restore->footer(restore_footer);
  restore->add_option("manifest", restore_to.manifest, "which image")
      ->required()
      ->type_name("MANIFEST");
  restore->add_option("-o,--output", restore_output, "file or block device (default: stdout)")
      ->type_name("OUT");
  restore->add_flag("-f,--force", restore_to.force, "replace an existing file");

  list = app.add_subcommand("list", "the images in the store");
}

bool parser::takes_value(std::string_view option) const {
  if (option.find('=') != std::string_view::npos) return false;
  // -uroot carries its value; -u does not.
  bool const is_short = option.size() > 1 && option[1] != '-';
  if (is_short && option.size() > 2) return false;
  for (auto const* const where : {static_cast<CLI::App const*>(dump), &app}) {
    auto const* const found = where->get_option_no_throw(std::string(option));
    if (found != nullptr) return found->get_expected_max() > 0 && found->get_type_size() != 0;
  }
  return false;
}

bool is_verb_name(parser const& p, std::string const& word) {
  auto const all = p.app.get_subcommands([](CLI::App const*) { return true; });
  return std::any_of(all.begin(), all.end(),
                     [&word](CLI::App const* verb) { return verb->get_name() == word; });
}

// The first word that is neither an option nor an option's value.
std::optional<std::string> first_word(parser const& p, std::vector<std::string> const& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    auto const& a = arguments[i];
    if (a.size() > 1 && a[0] == '-') {
      if (p.takes_value(a)) ++i;
    } else {
      return a;
    }
  }
  return std::nullopt;
}

std::vector<fleet_target> fleet_targets(std::vector<target_argument> const& given,
                                        ssh_options const& ssh) {
  std::vector<fleet_target> out;
  for (auto const& t : given) {
    for (auto const& path : t.paths) {
      fleet_target target;
      target.label = t.host + ":" + path;
      target.host = t.host;
      target.ssh = ssh;
      if (!t.user.empty()) target.ssh.user = t.user;
      target.sudo = t.sudo;
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
        throw usage_error(format("{}: {}", target.label, e.what()));
      }
      out.push_back(std::move(target));
    }
  }
  if (out.empty()) throw usage_error("dump: no target; write HOST:PATH");
  if (out.size() > limits::targets_max) {
    throw usage_error(format("dump: {} targets, {} at most", out.size(), limits::targets_max));
  }
  return out;
}

template <class Value>
Value choice(std::string const& text, std::map<std::string, Value> const& values) {
  return values.at(text);
}

dump_options finish_dump(raw_dump const& raw, std::vector<target_argument> const& given) {
  dump_options o;
  if (!raw.user.empty()) o.ssh.user = raw.user;
  if (raw.port != 0) o.ssh.port = raw.port;
  o.ssh.identity_files = raw.identities;
  if (!raw.config.empty()) o.ssh.config_file = raw.config;
  o.ssh.accept_new_host_keys = raw.accept_new;
  o.ssh.transport =
      choice<transport_choice>(raw.transport, {{"auto", transport_choice::automatic},
                                               {"libssh2", transport_choice::libssh2},
                                               {"openssh", transport_choice::openssh}});
  o.agent = choice<agent_choice>(raw.agent, {{"auto", agent_choice::automatic},
                                             {"native", agent_choice::native},
                                             {"python", agent_choice::python}});
  o.codec = choice<codec_policy>(raw.wire, {{"auto", codec_policy::lz4},
                                            {"lz4", codec_policy::lz4},
                                            {"zlib", codec_policy::zlib},
                                            {"none", codec_policy::none}});
  o.level = raw.durable == "none" ? durability::none : durability::barrier;
  o.targets_active_max = raw.active;
  o.skip_bad_sectors = raw.skip_bad;
  if (raw.block_size) {
    o.block_bytes = checked_block_bytes(parse_size("--block-size", *raw.block_size));
  }
  o.batch_blocks = checked_batch_blocks(parse_size("--batch-size", raw.batch_size));
  auto const batch_bytes =
      std::uint64_t{o.batch_blocks} * o.block_bytes.value_or(limits::block_bytes_default);
  if (batch_bytes > limits::batch_bytes_max) {
    throw usage_error(format("--batch-size: {} blocks are {} bytes; {} at most", o.batch_blocks,
                             batch_bytes, limits::batch_bytes_max));
  }
  o.targets = fleet_targets(given, o.ssh);
  return o;
}

}  // namespace

command parse_command_line(std::vector<std::string> arguments) {
  parser p;
  auto const word = first_word(p, arguments);
  bool const is_verb = word && is_verb_name(p, *word);
  if (word && !is_verb && word->find(':') != std::string::npos) {
    arguments.insert(arguments.begin(), "dump");
  }
  std::vector<target_argument> targets;
  bool const wants_help =
      std::find(arguments.begin(), arguments.end(), "--help") != arguments.end() ||
      std::find(arguments.begin(), arguments.end(), "-h") != arguments.end();
  if (first_word(p, arguments) == "dump" && !wants_help) {
    auto const at = std::find(arguments.begin(), arguments.end(), "dump");
    std::vector<std::string> const rest(at + 1, arguments.end());
    arguments.erase(at + 1, arguments.end());
    auto split =
        split_target_arguments(rest, [&p](std::string_view o) { return p.takes_value(o); });
    arguments.insert(arguments.end(), split.options.begin(), split.options.end());
    targets = std::move(split.targets);
  }

  command out;
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 takes them
  try {
    p.app.parse(std::move(reversed));
  } catch (CLI::CallForHelp const&) {
    auto const chosen = p.app.get_subcommands();
    out.help_text = chosen.empty() ? p.app.help() : chosen.front()->help();
    return out;
  } catch (CLI::CallForVersion const& e) {
    out.help_text = std::string(e.what()) + "\n";
    return out;
  } catch (CLI::ParseError const& e) {
    throw usage_error(e.what());
  }
  out.global = p.global;
  if (out.global.base.empty()) out.global.base = ".";
  if (p.dump->parsed()) {
    out.which = command::verb::dump;
    out.dump = finish_dump(p.raw, targets);
  } else if (p.restore->parsed()) {
    out.which = command::verb::restore;
    out.restore = p.restore_to;
    if (!p.restore_output.empty() && p.restore_output != "-") out.restore.output = p.restore_output;
  } else {
    out.which = command::verb::list;
  }
  return out;
}

}  // namespace diskdump
