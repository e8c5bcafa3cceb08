#include "transport/ssh_connect.hpp"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include "async/timeout.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "transport/known_hosts.hpp"
#include "transport/ssh_host.hpp"

namespace diskdump {

namespace {

using tcp = asio::ip::tcp;

struct resolution {
  asio::error_code failed;
  std::vector<tcp::endpoint> endpoints;
};

// getaddrinfo blocks and cannot be interrupted: a cancelled caller leaves it to the pool.
task<std::vector<tcp::endpoint>> resolve(connect_context context, ssh_settings settings) {
  auto looking = launch(
      context.blocking, context.executor,
      [&pool = context.blocking, host = settings.hostname, port = std::to_string(settings.port)] {
        resolution found;
        tcp::resolver resolver(pool.executor());
        auto const results = resolver.resolve(host, port, tcp::resolver::flags(), found.failed);
        for (auto const& one : results) {
          if (found.endpoints.size() < limits::addresses_max) {
            found.endpoints.push_back(one.endpoint());
          }
        }
        return found;
      });
  auto const found = co_await looking.result();
  if (found.failed || found.endpoints.empty()) {
    bool const again = found.failed == asio::error::host_not_found_try_again;
    throw error(transport_errc::unknown_host, again ? severity::transient : severity::permanent)
        .host(settings.name)
        .cause(settings.hostname == settings.name
                   ? found.failed.message()
                   : format("{}: {}", settings.hostname, found.failed.message()));
  }
  co_return found.endpoints;
}

task<> connect_one(tcp::socket& socket, tcp::endpoint endpoint) {
  co_await socket.async_connect(endpoint, asio::use_awaitable);
}

void set_options(tcp::socket& socket) {
  asio::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  // A machine that vanished is noticed within the silence timeout, also by a session that only
  // waits; packets through an idle NAT keep it open.
  int const idle = static_cast<int>(limits::alive_interval.count());
  int const fd = socket.native_handle();
  auto const set = [fd](int name, int value) {
    static_cast<void>(::setsockopt(fd, IPPROTO_TCP, name, &value, sizeof value));
  };
  set(TCP_KEEPIDLE, idle);
  set(TCP_KEEPINTVL, idle);
  set(TCP_KEEPCNT, limits::alive_probes_max);
  constexpr int ms_per_s = 1000;
  set(TCP_USER_TIMEOUT, static_cast<int>(limits::silence_timeout_max.count()) * ms_per_s);
}

// The first address that takes the connection, in the resolver's order.
task<tcp::socket> connect_socket(connect_context context, ssh_settings settings) {
  auto const endpoints = co_await resolve(context, settings);
  auto const each =
      std::chrono::duration_cast<std::chrono::milliseconds>(settings.connect_timeout) /
      static_cast<int>(endpoints.size() > 1 ? 2 : 1);
  std::string why;
  for (auto const& endpoint : endpoints) {
    tcp::socket socket(context.executor);
    std::string failed;
    try {
      co_await with_timeout(context.timers, each, connect_one(socket, endpoint));
    } catch (error const& e) {
      if (!is_timeout(e)) throw;
      failed = "timed out";
    } catch (std::system_error const& e) {
      if (e.code() == asio::error::operation_aborted) throw;
      failed = e.code().message();
    }
    if (failed.empty()) {
      set_options(socket);
      co_return socket;
    }
    why += format("{}{} port {}: {}", why.empty() ? "" : "; ", endpoint.address().to_string(),
                  endpoint.port(), failed);
  }
  throw error(transport_errc::cannot_connect, severity::transient).host(settings.name).cause(why);
}

// ---- Host keys ----------------------------------------------------------------------------------

std::string known_name(ssh_settings const& settings) {
  return settings.host_key_alias.empty() ? known_hosts_name(settings.hostname, settings.port)
                                         : settings.host_key_alias;
}

std::vector<known_host> known_keys(ssh_settings const& settings) {
  auto files = settings.user_known_hosts;
  files.insert(files.end(), settings.global_known_hosts.begin(), settings.global_known_hosts.end());
  return read_known_hosts(files, known_name(settings));
}

// ssh, too, takes a key that is known for the name without the port.
bool known_without_port(ssh_settings settings, public_key const& shown) {
  if (!settings.host_key_alias.empty()) return false;
  settings.host_key_alias = known_hosts_name(settings.hostname, 22);
  return judge_host_key(known_keys(settings), shown).verdict == host_key_verdict::known;
}

std::string first_file(ssh_settings const& settings) {
  return settings.user_known_hosts.empty() ? "" : settings.user_known_hosts.front();
}

error unknown_key(ssh_settings const& settings, public_key const& shown) {
  auto const file = first_file(settings);
  std::string scan = "ssh-keyscan";
  constexpr std::uint16_t ssh_port = 22;
  if (settings.port != ssh_port) scan += format(" -p {}", settings.port);
  return error(transport_errc::host_key_unknown, severity::permanent)
      .host(settings.name)
      .cause(format("it shows {} {}", printable(shown.type), fingerprint(shown.blob)))
      .remedy(format("compare that fingerprint, then `{} {} >> {}`, or give "
                     "--accept-new-host-keys",
                     scan, settings.hostname, file.empty() ? "~/.ssh/known_hosts" : file));
}

error changed_key(ssh_settings const& settings, known_host const& known, public_key const& shown) {
  return error(transport_errc::host_key_changed, severity::permanent)
      .host(settings.name)
      .path(format("{}:{}", known.file, known.line))
      .cause(format("it shows {} {}, known is {} {}", printable(shown.type),
                    fingerprint(shown.blob), printable(known.key.type),
                    fingerprint(known.key.blob)))
      .remedy(format("only if you know why it changed: `ssh-keygen -f {} -R '{}'`", known.file,
                     known_name(settings)));
}

error revoked_key(ssh_settings const& settings, known_host const& known) {
  return error(transport_errc::host_key_changed, severity::permanent)
      .host(settings.name)
      .path(format("{}:{}", known.file, known.line))
      .cause(format("{} is marked @revoked there", fingerprint(known.key.blob)));
}

// Blocking. Throws where the key is not to be trusted.
void check_host_key(connect_context const& context, ssh_settings const& settings, bool accept_new,
                    std::vector<known_host> const& known, public_key const& shown) {
  auto const judgement = judge_host_key(known, shown);
  switch (judgement.verdict) {
    case host_key_verdict::known:
      return;
    case host_key_verdict::revoked:
      throw revoked_key(settings, *judgement.entry);
    case host_key_verdict::changed: {
      // Known by a type that this libssh2 cannot check: OpenSSH asks the server for that very one.
      auto const types = ssh_machine::host_key_types();
      auto const failure = changed_key(settings, *judgement.entry, shown);
      if (std::find(types.begin(), types.end(), judgement.entry->key.type) == types.end()) {
        throw libssh2_unsuitable{
            format("a host key of type {}", printable(judgement.entry->key.type)), failure};
      }
      throw failure;
    }
    case host_key_verdict::unknown:
      break;
  }
  if (known_without_port(settings, shown)) return;
  if (!accept_new) throw unknown_key(settings, shown);
  auto const file = first_file(settings);
  context.log.write(log_level::warning, format("{}: new host key {} {} accepted", settings.name,
                                               printable(shown.type), fingerprint(shown.blob)));
  if (!file.empty() && file != "/dev/null") append_known_host(file, known_name(settings), shown);
}

// ---- The connection
// ------------------------------------------------------------------------------

task<public_key> shake_hands(std::shared_ptr<ssh_session> session, ssh_settings settings,
                             std::vector<std::string> types) {
  auto& context = session->context();
  try {
    co_return co_await with_timeout(
        context.timers, settings.connect_timeout,
        session->drive([types = std::move(types), first = true](ssh_machine& machine) mutable {
          if (std::exchange(first, false)) machine.prefer_host_keys(types);
          return machine.handshake() ? std::optional(machine.host_key()) : std::nullopt;
        }));
  } catch (ssh_failure const& failed) {
    auto failure = error(transport_errc::negotiation_failed, severity::permanent)
                       .host(settings.name)
                       .cause(failed.what());
    throw libssh2_unsuitable{format("the negotiation failed: {}", failed.what()), failure};
  } catch (error const& e) {
    auto const reason = is_timeout(e) ? std::string("no answer") : e.cause();
    throw error(transport_errc::negotiation_failed, severity::transient)
        .host(settings.name)
        .cause(format("port {} of {}: {}", settings.port, settings.hostname, reason))
        .remedy("is that an SSH server?");
  }
}

// Closes the socket of a connection that did not come about.
struct stop_unless_complete {
  std::shared_ptr<ssh_session> session;
  bool complete = false;
  ~stop_unless_complete() {
    if (!complete) session->stop();
  }
};

}  // namespace

task<std::unique_ptr<remote_host>> connect_libssh2(connect_context context, ssh_settings settings,
                                                   ssh_options options) {
  auto const known = co_await offload(context.blocking, [&] { return known_keys(settings); });
  std::vector<std::string> types;
  for (auto const& entry : known) {
    if (!entry.revoked) types.push_back(entry.key.type);
  }
  auto socket = co_await connect_socket(context, settings);
  auto const session = std::make_shared<ssh_session>(context, std::move(socket), settings.name);
  stop_unless_complete guard{session};
  session->start();

  auto const shown = co_await shake_hands(session, settings, std::move(types));
  co_await offload(context.blocking, [&] {
    check_host_key(context, settings, options.accept_new_host_keys, known, shown);
  });
  // From here on the server is the one that the user knows.
  bool const fallback = options.transport == transport_choice::automatic;
  co_await authenticate(session, settings, fallback);
  guard.complete = true;
  session->establish();
  auto const algorithms = co_await session->drive(
      [](ssh_machine& machine) { return std::optional(machine.algorithms()); });
  context.log.debug(format("{}: libssh2, {}", settings.name, algorithms));
  co_return make_ssh_host(session);
}

}  // namespace diskdump
