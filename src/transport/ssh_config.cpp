#include "transport/ssh_config.hpp"

#include <pwd.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/split.hpp"
#include "transport/child_process.hpp"

namespace diskdump {

namespace {

std::string home_of(std::string const& user) {
  if (user.empty()) {
    auto const* const home = std::getenv("HOME");
    if (home != nullptr && *home != '\0') return home;
  }
  auto const* const entry = user.empty() ? ::getpwuid(::getuid()) : ::getpwnam(user.c_str());
  return entry != nullptr && entry->pw_dir != nullptr ? entry->pw_dir : "/";
}

std::string local_user() {
  auto const* const entry = ::getpwuid(::getuid());
  return entry != nullptr ? entry->pw_name : std::to_string(::getuid());
}

// `~`, `~user`, `%` tokens and `${NAME}`, which `ssh -G` leaves as they stand.
std::string expand(std::string_view text, ssh_settings const& settings) {
  std::string out;
  if (text.starts_with('~')) {
    auto const slash = std::min(text.find('/'), text.size());
    out = home_of(std::string(text.substr(1, slash - 1)));
    text.remove_prefix(slash);
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 1 < text.size()) {
      switch (text[++i]) {
        case '%':
          out += '%';
          break;
        case 'd':
          out += home_of("");
          break;
        case 'h':
          out += settings.hostname;
          break;
        case 'i':
          out += std::to_string(::getuid());
          break;
        case 'k':
          out += settings.host_key_alias.empty() ? settings.name : settings.host_key_alias;
          break;
        case 'n':
          out += settings.name;
          break;
        case 'p':
          out += std::to_string(settings.port);
          break;
        case 'r':
          out += settings.user;
          break;
        case 'u':
          out += local_user();
          break;
        default:
          out += '%';
          out += text[i];
      }
    } else if (text.substr(i).starts_with("${")) {
      auto const end = text.find('}', i);
      if (end == std::string_view::npos) return out + std::string(text.substr(i));
      auto const* const value = std::getenv(std::string(text.substr(i + 2, end - i - 2)).c_str());
      if (value != nullptr) out += value;
      i = end;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string agent_from_environment() {
  auto const* const path = std::getenv("SSH_AUTH_SOCK");
  return path != nullptr ? path : "";
}

void take_line(ssh_settings& settings, std::string_view key, std::string_view value) {
  auto const number = [&](auto& to) {
    auto const [end, failed] = std::from_chars(value.data(), value.data() + value.size(), to);
    return failed == std::errc() && end == value.data() + value.size();
  };
  bool const none = value == "none";
  if (key == "hostname") {
    settings.hostname = value;
  } else if (key == "user") {
    settings.user = value;
  } else if (key == "port") {
    if (!number(settings.port) || settings.port == 0) {
      throw error(transport_errc::bad_configuration, severity::permanent)
          .host(settings.name)
          .cause(format("port {}", value));
    }
  } else if (key == "identityfile") {
    if (!none) settings.identity_files.emplace_back(value);
  } else if (key == "certificatefile") {
    if (!none) settings.certificate_files.emplace_back(value);
  } else if (key == "identitiesonly") {
    settings.identities_only = value == "yes" || value == "true";
  } else if (key == "identityagent") {
    settings.identity_agent = none                       ? ""
                              : value == "SSH_AUTH_SOCK" ? agent_from_environment()
                              : value.starts_with('$') && !value.starts_with("${")
                                  ? format("${{{}}}", value.substr(1))
                                  : std::string(value);
  } else if (key == "userknownhostsfile") {
    settings.user_known_hosts = none ? std::vector<std::string>() : split(value, ' ');
  } else if (key == "globalknownhostsfile") {
    settings.global_known_hosts = none ? std::vector<std::string>() : split(value, ' ');
  } else if (key == "hostkeyalias") {
    settings.host_key_alias = value;
  } else if (key == "proxyjump") {
    settings.proxy_jump = none ? "" : value;
  } else if (key == "proxycommand") {
    settings.proxy_command = none ? "" : value;
  } else if (key == "connecttimeout") {
    // 0 is no bound of ssh's own, and ours holds.
    unsigned seconds = 0;
    if (number(seconds) && seconds > 0) settings.connect_timeout = std::chrono::seconds(seconds);
  }
}

// ssh leaves out a file that does not exist with a warning. Here it is an error, unless its public
// half stands there for a key of the agent.
void add_named_identities(ssh_settings& settings, ssh_options const& options) {
  auto& files = settings.identity_files;
  for (auto at = options.identity_files.rbegin(); at != options.identity_files.rend(); ++at) {
    auto const path = expand(*at, settings);
    if (::access(path.c_str(), F_OK) != 0 && ::access((path + ".pub").c_str(), F_OK) != 0) {
      throw error(transport_errc::bad_configuration, severity::permanent)
          .host(settings.name)
          .path(path)
          .cause("there is no such identity file");
    }
    std::erase(files, path);
    files.insert(files.begin(), path);
  }
}

}  // namespace

std::string without_brackets(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return std::string(host);
}

ssh_settings parse_ssh_settings(std::string_view output, std::string name) {
  ssh_settings settings;
  settings.name = std::move(name);
  settings.hostname = settings.name;
  settings.identity_agent = agent_from_environment();
  while (!output.empty()) {
    auto const end = std::min(output.find('\n'), output.size());
    auto const line = output.substr(0, end);
    output.remove_prefix(std::min(end + 1, output.size()));
    auto const space = line.find(' ');
    if (space != std::string_view::npos) {
      take_line(settings, line.substr(0, space), line.substr(space + 1));
    }
  }
  if (settings.connect_timeout == std::chrono::seconds::zero()) {
    bool const direct = settings.proxy_jump.empty() && settings.proxy_command.empty();
    settings.connect_timeout =
        direct ? limits::connect_timeout_max : limits::proxied_connect_timeout_max;
  }
  if (settings.user.empty()) settings.user = local_user();
  for (auto* const list : {&settings.identity_files, &settings.certificate_files,
                           &settings.user_known_hosts, &settings.global_known_hosts}) {
    for (auto& path : *list) path = expand(path, settings);
  }
  settings.identity_agent = expand(settings.identity_agent, settings);
  return settings;
}

ssh_settings default_ssh_settings(std::string name) {
  return parse_ssh_settings(
      "identityfile ~/.ssh/id_rsa\nidentityfile ~/.ssh/id_ecdsa\nidentityfile ~/.ssh/id_ed25519\n"
      "userknownhostsfile ~/.ssh/known_hosts ~/.ssh/known_hosts2\n"
      "globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2\n",
      std::move(name));
}

std::vector<std::string> ssh_arguments(ssh_options const& options) {
  std::vector<std::string> arguments;
  auto const add = [&](char const* flag, std::string value) {
    arguments.emplace_back(flag);
    arguments.push_back(std::move(value));
  };
  if (options.config_file) add("-F", *options.config_file);
  if (options.port) add("-p", std::to_string(*options.port));
  if (options.user) add("-l", *options.user);
  for (auto const& file : options.identity_files) add("-i", file);
  return arguments;
}

task<ssh_settings> resolve_ssh_settings(std::string host, ssh_options options) {
  auto const name = without_brackets(host);
  if (name.empty() || name.starts_with('-')) {
    throw error(transport_errc::bad_configuration, severity::permanent)
        .host(host)
        .cause("not the name of a host");
  }
  if (!program_exists("ssh")) {
    if (options.config_file && *options.config_file != "none") {
      throw error(transport_errc::ssh_not_found, severity::permanent)
          .host(name)
          .path(*options.config_file)
          .cause("the configuration file is read by `ssh -G`");
    }
    auto settings = default_ssh_settings(name);
    if (options.user) settings.user = *options.user;
    if (options.port) settings.port = *options.port;
    if (!options.identity_files.empty()) settings.identity_files.clear();
    add_named_identities(settings, options);
    co_return settings;
  }
  std::vector<std::string> argv{"ssh", "-G"};
  for (auto& word : ssh_arguments(options)) argv.push_back(std::move(word));
  argv.emplace_back("--");
  argv.push_back(name);
  auto const result = co_await run_program(std::move(argv), limits::ssh_config_bytes_max);
  if (result.end.status != 0) {
    throw error(transport_errc::bad_configuration, severity::permanent)
        .host(name)
        .cause(printable(result.stderr_tail));
  }
  auto settings = parse_ssh_settings(result.output, name);
  add_named_identities(settings, options);
  co_return settings;
}

}  // namespace diskdump
