// The command line as a whole: the program's own options, which verb is meant, and its targets.
#include "cli/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli/verb_syntax.hpp"

namespace diskdump {

namespace {

constexpr std::string_view dump_verb = "dump";

struct verb_parser {
  verb_syntax syntax;
  CLI::App* app = nullptr;
};

class parser {
 public:
  parser();
  [[nodiscard]] command parse(std::vector<std::string> arguments);

 private:
  [[nodiscard]] verb_parser const* find(std::string_view name) const;
  [[nodiscard]] std::size_t first_word(std::vector<std::string> const& arguments) const;
  [[nodiscard]] bool takes_value(verb_parser const* verb, std::string_view option) const;
  [[nodiscard]] std::vector<target_argument> take_targets(
      std::vector<std::string>& arguments) const;

  CLI::App app_{"Deduplicated disk image transfer over SSH.", "diskdump"};
  option_set options_{app_};
  std::vector<verb_parser> verbs_;
  global_options global_;
};

parser::parser() {
  app_.set_help_flag("-h,--help", "this text, or that of a verb");
  app_.set_version_flag("--version", std::string("diskdump ") + DISKDUMP_VERSION);
  app_.require_subcommand(1);
  app_.fallthrough();
  app_.footer(
      "HOST:PATH … without a verb is the same as dump HOST:PATH ….\n"
      "Exit: 0 all well, 1 some target failed or damage was found, 2 usage, 130 interrupted.");
  app_.add_option("--base", global_.base, "DIR, the folder of the store (default: current)")
      ->envname("DISKDUMP_BASE")
      ->type_name("DIR");
  options_.flag("--json", global_.json, "one JSON object per line on stdout, nothing else");
  options_.flag("-q,--quiet", global_.quiet, "only errors");
  options_.flag("-v,--verbose", global_.verbose, "say what is being done");

  for (auto const& group : {dump_verbs(), image_verbs(), upkeep_verbs(), bench_verbs()}) {
    for (auto const& syntax : group) {
      auto* const app = app_.add_subcommand(syntax.name, syntax.summary);
      app->footer(syntax.footer);
      option_set set(*app);
      syntax.declare(set);
      verbs_.push_back({syntax, app});
    }
  }
}

verb_parser const* parser::find(std::string_view name) const {
  auto const at = std::find_if(verbs_.begin(), verbs_.end(),
                               [&](verb_parser const& v) { return v.syntax.name == name; });
  return at == verbs_.end() ? nullptr : &*at;
}

bool parser::takes_value(verb_parser const* verb, std::string_view option) const {
  if (verb != nullptr) {
    if (auto const known = option_set(*verb->app).takes_value(option)) return *known;
  }
  return options_.takes_value(option).value_or(false);
}

// The first that is neither an option nor an option's value; the number of arguments where there is
// none. What stands before it belongs to the program, or to a dump that is not named.
std::size_t parser::first_word(std::vector<std::string> const& arguments) const {
  auto const* const dump = find(dump_verb);
  std::size_t i = 0;
  for (; i < arguments.size(); ++i) {
    auto const& a = arguments[i];
    if (a.size() < 2 || a[0] != '-') break;
    if (takes_value(dump, a)) ++i;
  }
  return std::min(i, arguments.size());
}

std::vector<target_argument> parser::take_targets(std::vector<std::string>& arguments) const {
  bool const wants_help = std::any_of(arguments.begin(), arguments.end(), [](std::string const& a) {
    return a == "--help" || a == "-h";
  });
  auto const at = first_word(arguments);
  if (at == arguments.size() || wants_help) return {};
  auto const* const verb = find(arguments[at]);
  if (verb == nullptr || !verb->syntax.takes_targets) return {};
  auto const begin = arguments.begin() + static_cast<std::ptrdiff_t>(at) + 1;
  std::vector<std::string> const rest(begin, arguments.end());
  arguments.erase(begin, arguments.end());
  auto split =
      split_target_arguments(rest, [&](std::string_view o) { return takes_value(verb, o); });
  arguments.insert(arguments.end(), split.options.begin(), split.options.end());
  return std::move(split.targets);
}

command parser::parse(std::vector<std::string> arguments) {
  if (auto const at = first_word(arguments); at < arguments.size()) {
    auto const& word = arguments[at];
    if (find(word) == nullptr && word.find(':') != std::string::npos) {
      arguments.insert(arguments.begin(), std::string(dump_verb));
    }
  }
  auto const targets = take_targets(arguments);

  command out;
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 takes them
  try {
    app_.parse(std::move(reversed));
  } catch (CLI::CallForHelp const&) {
    auto const chosen = app_.get_subcommands();
    out.verb = help_arguments{chosen.empty() ? app_.help() : chosen.front()->help()};
    return out;
  } catch (CLI::CallForVersion const& e) {
    out.verb = help_arguments{std::string(e.what()) + "\n"};
    return out;
  } catch (CLI::ParseError const& e) {
    throw usage_error(e.what());
  }
  out.global = global_;
  if (out.global.base.empty()) out.global.base = ".";
  for (auto const& verb : verbs_) {
    if (verb.app->parsed()) out.verb = verb.syntax.finish(targets);
  }
  return out;
}

}  // namespace

command parse_command_line(std::vector<std::string> arguments) {
  return parser().parse(std::move(arguments));
}

}  // namespace diskdump
