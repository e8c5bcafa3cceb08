#include "cli/target_args.hpp"

#include <filesystem>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "cli/options.hpp"

namespace diskdump {

namespace {

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw usage_error(format("target '{}': {}; write [USER@]HOST:PATH[:PATH…]", text, why));
}

// The host's end: the colon that is not inside the brackets of an IPv6 address.
std::size_t host_end(std::string_view text) {
  auto const at = text.find('@');
  auto const host = at == std::string_view::npos ? 0 : at + 1;
  if (host < text.size() && text[host] == '[') {
    auto const close = text.find(']', host);
    if (close == std::string_view::npos) refuse(text, "the bracket is not closed");
    if (close + 1 >= text.size() || text[close + 1] != ':') refuse(text, "no path after the host");
    return close + 1;
  }
  auto const colon = text.find(':', host);
  if (colon == std::string_view::npos) refuse(text, "no path after the host");
  return colon;
}

std::vector<std::string> split_paths(std::string_view text) {
  std::vector<std::string> paths(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == ':' || text[i + 1] == '\\')) {
      paths.back() += text[++i];
    } else if (text[i] == ':') {
      paths.emplace_back();
    } else {
      paths.back() += text[i];
    }
  }
  return paths;
}

// "--name" or "--name=…".
bool is_option(std::string_view word, std::string_view name) {
  return word.starts_with(name) && (word.size() == name.size() || word[name.size()] == '=');
}

std::string device_path(std::string path) {
  bool const bare = path.find('/') == std::string::npos;
  bool const device = path.starts_with("sd") || path.starts_with("vd") || path.starts_with("nvme");
  return bare && device ? "/dev/" + path : path;
}

}  // namespace

target_argument parse_target(std::string_view text) {
  target_argument target;
  auto const end = host_end(text);
  auto host = text.substr(0, end);
  if (auto const at = host.find('@'); at != std::string_view::npos) {
    target.user = host.substr(0, at);
    if (target.user.empty()) refuse(text, "the user is empty");
    if (target.user.front() == '-') refuse(text, "a user cannot begin with '-'");
    host.remove_prefix(at + 1);
  }
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (host.empty()) refuse(text, "the host is empty");
  if (host.front() == '-') refuse(text, "a host cannot begin with '-'");
  target.host = host;
  for (auto& path : split_paths(text.substr(end + 1))) {
    if (path.empty()) refuse(text, "a path is empty");
    path = device_path(std::move(path));
    // The local agent starts elsewhere than we do; what the user sees here must be what is read.
    if (target.host == "localhost" && target.user.empty() && path.front() != '/') {
      path = std::filesystem::absolute(path).lexically_normal().string();
    }
    target.paths.push_back(std::move(path));
  }
  return target;
}

void check_target_command(std::string const& option, std::string const& command) {
  if (command.find_first_not_of(" \t\n") == std::string::npos) {
    throw usage_error(option + " needs a command");
  }
  if (command.size() > limits::target_command_bytes_max) {
    throw usage_error(format("{}: the command has {} bytes, {} at most; put it into a script there",
                             option, command.size(), limits::target_command_bytes_max));
  }
}

split_arguments split_target_arguments(
    std::vector<std::string> const& arguments,
    std::function<bool(std::string_view option)> const& takes_value) {
  split_arguments out;
  bool options_end = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string const& a = arguments[i];
    auto const last = [&]() -> target_argument& {
      if (out.targets.empty())
        throw usage_error(a + " applies to the target before it; there is none");
      return out.targets.back();
    };
    if (options_end || a.size() < 2 || a[0] != '-') {
      out.targets.push_back(parse_target(a));
    } else if (a == "--") {
      options_end = true;
    } else if (a == "--sudo") {
      last().sudo = true;
    } else if (a == "--as" || a.starts_with("--as=")) {
      auto& target = last();
      if (a == "--as" && i + 1 == arguments.size()) throw usage_error("--as needs a name");
      target.name = a == "--as" ? arguments[++i] : a.substr(5);
      if (target.name.empty()) throw usage_error("--as needs a name");
    } else if (!out.targets.empty() && (is_option(a, "--pre") || is_option(a, "--post"))) {
      auto const equals = a.find('=');
      auto const option = a.substr(0, equals);
      if (equals == std::string::npos && i + 1 == arguments.size()) {
        throw usage_error(option + " needs a command");
      }
      auto const& command = equals == std::string::npos ? arguments[++i] : a.substr(equals + 1);
      check_target_command(option, command);
      (option == "--pre" ? last().pre : last().post) = command;
    } else {
      out.options.push_back(a);
      if (takes_value(a) && i + 1 < arguments.size()) out.options.push_back(arguments[++i]);
    }
  }
  return out;
}

}  // namespace diskdump
