// The options and arguments of one verb (or of the program), as a verb declares them. The variables
// that are filled outlive the parse. Nothing outside option_set.cpp and options.cpp knows the
// library that parses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace diskdump {

class option_set {
 public:
  explicit option_set(CLI::App& app) : app_(&app) {}

  // `names` is "-o,--output"; `type` stands for the value in the help text.
  void flag(std::string const& names, bool& into, std::string const& help);
  void text(std::string const& names, std::string& into, std::string const& type,
            std::string const& help);
  void text(std::string const& names, std::optional<std::string>& into, std::string const& type,
            std::string const& help);
  void required_text(std::string const& names, std::string& into, std::string const& type,
                     std::string const& help);
  // One value each time the option is given.
  void texts(std::string const& names, std::vector<std::string>& into, std::string const& type,
             std::string const& help);
  void number(std::string const& names, std::uint64_t& into, std::uint64_t least,
              std::uint64_t most, std::string const& help);
  void number(std::string const& names, std::optional<std::uint64_t>& into, std::uint64_t least,
              std::uint64_t most, std::string const& help);
  void choice(std::string const& names, std::string& into, std::vector<std::string> const& values,
              std::string const& help);
  // What stands without an option; `name` is its place in the help text.
  void argument(std::string const& name, std::string& into, std::string const& help);
  void arguments(std::string const& name, std::vector<std::string>& into, std::string const& help);

  // Whether the option is followed by its value as a word of its own; nullopt for one that is not
  // here. A value that is joined on ("--a=b", "-ab") is none.
  [[nodiscard]] std::optional<bool> takes_value(std::string_view option) const;

 private:
  CLI::App* app_;
};

}  // namespace diskdump
