#include "cli/option_set.hpp"

#include <CLI/CLI.hpp>

namespace diskdump {

void option_set::flag(std::string const& names, bool& into, std::string const& help) {
  app_->add_flag(names, into, help);
}

void option_set::text(std::string const& names, std::string& into, std::string const& type,
                      std::string const& help) {
  app_->add_option(names, into, help)->type_name(type);
}

void option_set::text(std::string const& names, std::optional<std::string>& into,
                      std::string const& type, std::string const& help) {
  app_->add_option(names, into, help)->type_name(type);
}

void option_set::required_text(std::string const& names, std::string& into, std::string const& type,
                               std::string const& help) {
  app_->add_option(names, into, help)->required()->type_name(type);
}

void option_set::texts(std::string const& names, std::vector<std::string>& into,
                       std::string const& type, std::string const& help) {
  app_->add_option(names, into, help)->take_all()->expected(1)->type_name(type);
}

void option_set::number(std::string const& names, std::uint64_t& into, std::uint64_t least,
                        std::uint64_t most, std::string const& help) {
  app_->add_option(names, into, help)->check(CLI::Range(least, most))->type_name("N");
}

void option_set::number(std::string const& names, std::optional<std::uint64_t>& into,
                        std::uint64_t least, std::uint64_t most, std::string const& help) {
  app_->add_option(names, into, help)->check(CLI::Range(least, most))->type_name("N");
}

void option_set::choice(std::string const& names, std::string& into,
                        std::vector<std::string> const& values, std::string const& help) {
  app_->add_option(names, into, help)->check(CLI::IsMember(values))->type_name("KIND");
}

void option_set::argument(std::string const& name, std::string& into, std::string const& help) {
  app_->add_option(name, into, help)->required()->type_name(" ");
}

void option_set::arguments(std::string const& name, std::vector<std::string>& into,
                           std::string const& help) {
  app_->add_option(name, into, help)->type_name(" ");
}

std::optional<bool> option_set::takes_value(std::string_view option) const {
  if (option.find('=') != std::string_view::npos) return false;
  // -uroot carries its value; -u does not.
  bool const is_short = option.size() > 1 && option[1] != '-';
  if (is_short && option.size() > 2) return false;
  auto const* const found = app_->get_option_no_throw(std::string(option));
  if (found == nullptr) return std::nullopt;
  return found->get_expected_max() > 0 && found->get_type_size() != 0;
}

}  // namespace diskdump
