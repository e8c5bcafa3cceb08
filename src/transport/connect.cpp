#include "transport/connect.hpp"

#include "async/timeout.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "transport/child_process.hpp"
#include "transport/openssh_host.hpp"
#include "transport/ssh_config.hpp"
#include "transport/ssh_connect.hpp"

namespace diskdump {

namespace {

// Why libssh2 need not even try; empty where it may.
std::string reason_for_openssh(ssh_settings const& settings) {
  if (!settings.proxy_jump.empty()) return format("ProxyJump {}", settings.proxy_jump);
  if (!settings.proxy_command.empty()) return "ProxyCommand";
  return {};
}

// `ssh -G` runs what a Match exec of the configuration says, which may not come back.
task<ssh_settings> read_settings(connect_context const& context, std::string host,
                                 ssh_options options) {
  try {
    co_return co_await with_timeout(context.timers, limits::connect_timeout_max,
                                    resolve_ssh_settings(host, std::move(options)));
  } catch (error const& e) {
    if (!is_timeout(e)) throw;
    throw error(transport_errc::bad_configuration, severity::permanent)
        .host(host)
        .cause(
            format("`ssh -G` has not ended within {} seconds", limits::connect_timeout_max.count()))
        .remedy("is there a Match exec in your ssh_config that hangs?");
  }
}

}  // namespace

task<std::unique_ptr<remote_host>> connect_ssh(connect_context context, std::string host,
                                               ssh_options options) {
  ignore_sigpipe();
  auto const name = without_brackets(host);
  // Throws for names that are no hosts, before they reach any command line.
  auto const settings = co_await read_settings(context, host, options);
  if (options.transport == transport_choice::openssh) {
    co_return co_await connect_openssh(context, name, options, settings.connect_timeout);
  }
  auto reason = reason_for_openssh(settings);
  std::optional<error> failure;
  if (reason.empty()) {
    try {
      co_return co_await connect_libssh2(context, settings, options);
    } catch (libssh2_unsuitable const& e) {
      reason = e.reason;
      failure = e.failure;
    }
  } else {
    failure = error(transport_errc::bad_configuration, severity::permanent)
                  .host(name)
                  .cause(format("libssh2 cannot do {}", reason))
                  .remedy("--transport openssh");
  }
  if (options.transport != transport_choice::automatic) throw *failure;
  if (!program_exists("ssh")) throw *failure;
  context.log.info(format("{}: using openssh instead of libssh2: {}", name, reason));
  co_return co_await connect_openssh(context, name, options, settings.connect_timeout);
}

}  // namespace diskdump
