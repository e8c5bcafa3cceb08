#include "transport/openssh_host.hpp"

#include <unistd.h>

#include <random>

#include "async/scope.hpp"
#include "async/timeout.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "transport/private_folder.hpp"
#include "transport/process_stream.hpp"
#include "transport/ssh_config.hpp"

namespace diskdump {

namespace {

constexpr int ssh_failed_status = 255;  // ssh's own failure; any other status is the command's

std::string random_hex() {
  std::random_device source;
  return format("{:08x}{:08x}{:08x}{:08x}", source(), source(), source(), source());
}

// What all of our calls of ssh have in common, behind the control socket's options.
void add_common(std::vector<std::string>& argv, ssh_options const& options) {
  for (auto const& setting :
       {std::string("ControlPersist=no"), std::string("ClearAllForwardings=yes"),
        std::string("RemoteCommand=none"), std::string("RequestTTY=no"),
        std::string("PermitLocalCommand=no"), std::string("ForkAfterAuthentication=no"),
        std::string("StdinNull=no"),
        format("ServerAliveInterval={}", limits::alive_interval.count()),
        format("ServerAliveCountMax={}", limits::alive_probes_max),
        format("StrictHostKeyChecking={}", options.accept_new_host_keys ? "accept-new" : "yes")}) {
    argv.emplace_back("-o");
    argv.push_back(setting);
  }
  argv.emplace_back("-T");
  for (auto& word : ssh_arguments(options)) argv.push_back(std::move(word));
}

class openssh_stream final : public stream {
 public:
  openssh_stream(std::unique_ptr<process_stream> io, std::shared_ptr<process_stream> master,
                 timer_source& timers, std::string host)
      : io_(std::move(io)), master_(std::move(master)), timers_(timers), host_(std::move(host)) {}

  task<std::size_t> read(byte_span to) override {
    auto const n = co_await io_->read(to);
    if (n == 0) co_await check_end();
    co_return n;
  }
  task<> write(byte_view bytes) override { co_await io_->write(bytes); }
  task<> write_eof() override { co_await io_->write_eof(); }
  task<exit_report> close() override {
    auto report = co_await io_->close();
    if (report.status == ssh_failed_status) report.status.reset();
    // A signal that ended the command is 255 too: ssh does not pass on its name.
    co_return report;
  }
  std::string stderr_tail() const override { return io_->stderr_tail(); }
  std::uint64_t wire_bytes() const noexcept override {
    // Each packet of up to 32 KiB carries at most 64 bytes around its payload.
    auto const payload = io_->wire_bytes();
    constexpr std::uint64_t payload_per_overhead_byte = 256;
    return payload + payload / payload_per_overhead_byte;
  }

 private:
  // The end of the output is also what a lost connection looks like.
  task<> check_end() {
    std::optional<child_end> end;
    try {
      end = co_await with_timeout(timers_, limits::close_wait_max, io_->wait_end());
    } catch (error const& e) {
      if (!is_timeout(e)) throw;
      co_return;  // stdout was closed, and the program runs on
    }
    if (end->status != ssh_failed_status) co_return;
    try {
      // The client that shares the connection learns of its loss a moment before the one that has
      // it.
      static_cast<void>(
          co_await with_timeout(timers_, limits::master_end_wait_max, master_->wait_end()));
    } catch (error const& e) {
      if (!is_timeout(e)) throw;
      co_return;  // the connection stands: 255 is the command's own status
    }
    throw error(transport_errc::connection_lost, severity::transient)
        .host(host_)
        .cause(printable(master_->stderr_tail() + io_->stderr_tail()));
  }

  std::unique_ptr<process_stream> io_;
  std::shared_ptr<process_stream> master_;
  timer_source& timers_;
  std::string host_;
};

class openssh_host final : public remote_host {
 public:
  openssh_host(connect_context context, std::string name, ssh_options options)
      : context_(std::move(context)), name_(std::move(name)), options_(std::move(options)) {}

  // One ssh holds the connection; it runs `cat`, which ends when we do, and with it the connection.
  // ssh bounds the time until the server's version line by ConnectTimeout, and what follows by the
  // signs of life, but for the login shell.
  task<> connect(std::chrono::seconds timeout) {
    auto const token = random_hex();
    child_command child;
    // ssh may ask on the terminal, so it stays in our session. Ctrl-C is for us alone.
    child.new_session = false;
    child.argv = {
        "sh", "-c", "trap '' INT QUIT; exec \"$@\"", "sh", "ssh", "-M", "-S", folder_.socket()};
    child.argv.emplace_back("-o");
    child.argv.push_back(format("ConnectTimeout={}", timeout.count()));
    add_common(child.argv, options_);
    child.argv.emplace_back("--");
    child.argv.push_back(name_);
    child.argv.push_back(format("exec sh -c 'echo {}; exec cat >/dev/null'", token));
    master_ = std::make_shared<process_stream>(context_.executor, context_.timers, std::move(child),
                                               name_);
    bool ready = false;
    try {
      co_await with_scope([&](scope& both) {
        both.spawn(watch_shell());
        both.spawn(hear(token, ready, both));
      });
    } catch (...) {
      // The end of the watch is not a failure.
      if (!ready || !is_consequence(std::current_exception())) throw;
    }
  }

  task<std::unique_ptr<stream>> exec(std::string command,
                                     std::size_t /*ssh has its own*/) override {
    child_command child;
    child.argv = {"ssh", "-S", folder_.socket(), "-o", "ControlMaster=no", "-o", "BatchMode=yes"};
    add_common(child.argv, options_);
    child.argv.emplace_back("--");
    child.argv.push_back(name_);
    child.argv.push_back(std::move(command));
    auto io = std::make_unique<process_stream>(context_.executor, context_.timers, std::move(child),
                                               name_);
    co_return std::make_unique<openssh_stream>(std::move(io), master_, context_.timers, name_);
  }

  task<bool> put_file(std::string, byte_view) override { co_return false; }

  task<> close() override { static_cast<void>(co_await master_->close()); }

  std::string description() const override { return "openssh"; }

 private:
  // sshd answers signs of life for a login shell that hangs. ssh makes its control socket once it
  // is logged in; until then a person may be asked, which takes as long as it takes.
  task<> watch_shell() {
    auto const socket = folder_.socket();
    do {
      co_await context_.timers.sleep(limits::login_look_interval);
    } while (::access(socket.c_str(), F_OK) != 0);
    co_await context_.timers.sleep(limits::shell_start_time_max);
    throw error(transport_errc::cannot_exec, severity::transient)
        .host(name_)
        .cause(format("logged in, but its shell ran no command within {} seconds",
                      limits::shell_start_time_max.count()))
        .remedy(format("does `ssh {} true` end?", name_));
  }

  // A person who is to trust a key, or not, has to see it, and ssh shows it only where it may ask.
  task<> add_host_key(error& failure) {
    bool const is_of_key = failure.code() == transport_errc::host_key_unknown ||
                           failure.code() == transport_errc::host_key_changed;
    if (!is_of_key) co_return;
    std::vector<std::string> argv{"ssh", "-v", "-o", "ControlPath=none", "-o", "BatchMode=yes"};
    add_common(argv, options_);
    argv.emplace_back("--");
    argv.push_back(name_);
    argv.emplace_back("true");
    try {
      auto const said = co_await with_timeout(context_.timers, limits::connect_timeout_max,
                                              run_program(std::move(argv), 0));
      constexpr std::string_view before_key = "Server host key: ";
      auto const at = said.stderr_tail.find(before_key);
      if (at == std::string::npos) co_return;
      auto const line = std::string_view(said.stderr_tail).substr(at + before_key.size());
      failure.cause(format("{}; it shows {}", failure.cause(),
                           printable(line.substr(0, line.find_first_of("\r\n")))));
    } catch (error const& e) {
      context_.log.debug(format("{}: its host key: {}", name_, e.what()));
    }
  }

  // Until the token came.
  task<> hear(std::string token, bool& ready, scope& both) {
    std::string said;
    byte_vector chunk(limits::stderr_tail_bytes_max);
    while (said.find(token) == std::string::npos) {
      auto const n = co_await master_->read(chunk);
      if (n == 0 || said.size() > limits::login_noise_bytes_max) {
        auto const report = co_await master_->close();
        if (report.status == ssh_failed_status) {
          auto failure = openssh_error(name_, report.stderr_tail);
          co_await add_host_key(failure);
          throw std::move(failure);
        }
        throw error(transport_errc::cannot_exec, severity::permanent)
            .host(name_)
            .cause(printable(report.stderr_tail.empty() ? said : report.stderr_tail));
      }
      said += as_text(byte_view(chunk).first(n));
    }
    ready = true;
    both.cancel();
  }

  connect_context context_;
  std::string name_;
  ssh_options options_;
  private_folder folder_;
  std::shared_ptr<process_stream> master_;
};

// The last lines, without the frame of @ around a changed host key.
std::string last_lines(std::string_view said) {
  constexpr std::size_t shown_max = 600;
  std::string out;
  while (!said.empty()) {
    auto const end = std::min(said.find('\n'), said.size());
    auto line = said.substr(0, end);
    said.remove_prefix(std::min(end + 1, said.size()));
    while (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('@')) continue;
    out += (out.empty() ? "" : "; ") + std::string(line);
  }
  if (out.size() > shown_max) out.erase(0, out.size() - shown_max);
  return printable(out);
}

struct known_message {
  std::string_view part;
  transport_errc code;
  severity kind;
  std::string_view remedy;
};
constexpr known_message known_messages[] = {
    {"Could not resolve hostname", transport_errc::unknown_host, severity::permanent, ""},
    {"IDENTIFICATION HAS CHANGED", transport_errc::host_key_changed, severity::permanent,
     "only if you know why it changed: remove the line with `ssh-keygen -R"},
    {"is revoked", transport_errc::host_key_changed, severity::permanent, ""},
    {"REVOKED HOST KEY", transport_errc::host_key_changed, severity::permanent, ""},
    {"host key is known for", transport_errc::host_key_unknown, severity::permanent,
     "connect once with `ssh` and compare the fingerprint, or give --accept-new-host-keys"},
    {"Host key verification failed", transport_errc::host_key_unknown, severity::permanent,
     "connect once with `ssh` and compare the fingerprint, or give --accept-new-host-keys"},
    {"Permission denied", transport_errc::authentication_failed, severity::permanent, ""},
    {"Too many authentication failures", transport_errc::authentication_failed, severity::permanent,
     "name one key with -i"},
    {"Connection refused", transport_errc::cannot_connect, severity::transient, ""},
    {"timed out", transport_errc::cannot_connect, severity::transient, ""},
    {"No route to host", transport_errc::cannot_connect, severity::transient, ""},
    {"Network is unreachable", transport_errc::cannot_connect, severity::transient, ""},
    {"Unable to negotiate", transport_errc::negotiation_failed, severity::permanent, ""},
    {"kex_exchange_identification", transport_errc::negotiation_failed, severity::transient, ""},
    {"banner exchange", transport_errc::negotiation_failed, severity::transient, ""},
    {"Bad configuration option", transport_errc::bad_configuration, severity::permanent, ""},
    {"Can't open user config file", transport_errc::bad_configuration, severity::permanent, ""},
    {"terminating,", transport_errc::bad_configuration, severity::permanent, ""},
};

}  // namespace

error openssh_error(std::string const& host, std::string_view said) {
  for (auto const& known : known_messages) {
    if (said.find(known.part) == std::string_view::npos) continue;
    auto const remedy = known.code == transport_errc::host_key_changed && !known.remedy.empty()
                            ? format("{} {}`", known.remedy, host)
                            : std::string(known.remedy);
    return error(known.code, known.kind).host(host).cause(last_lines(said)).remedy(remedy);
  }
  return error(transport_errc::connection_lost, severity::transient)
      .host(host)
      .cause(last_lines(said));
}

task<std::unique_ptr<remote_host>> connect_openssh(connect_context context, std::string name,
                                                   ssh_options options,
                                                   std::chrono::seconds timeout) {
  if (!program_exists("ssh")) {
    throw error(transport_errc::ssh_not_found, severity::permanent).host(name);
  }
  auto host = std::make_unique<openssh_host>(context, name, std::move(options));
  co_await host->connect(timeout);
  context.log.debug(format("{}: connected by openssh", name));
  co_return host;
}

}  // namespace diskdump
