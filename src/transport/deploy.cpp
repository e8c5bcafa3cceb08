#include "transport/deploy.hpp"

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "transport/connect.hpp"
#include "transport/converse.hpp"
#include "transport/deploy_script.hpp"
#include "transport/replayed_stream.hpp"

namespace diskdump {

namespace {

// What a program that ended too early left behind, as an error that says what to do.
error did_not_start(exit_report const& report, std::string_view noise, agent_launch const& launch) {
  // What was killed, or ended without an exit status, may have lost its connection or its machine.
  auto const kind = report.signal || !report.status ? severity::transient : severity::permanent;
  error e(transport_errc::agent_did_not_start, kind);
  std::string cause;
  if (report.signal) cause = format("killed by signal {}", *report.signal);
  if (report.status && *report.status != 0) cause = format("exit status {}", *report.status);
  auto const said = printable(without_sudo_prompts(report.stderr_tail, launch.nonce_hex));
  if (!said.empty()) cause += (cause.empty() ? "" : ": ") + said;
  if (!noise.empty()) cause += format("{}stdout: {}", cause.empty() ? "" : "; ", noise);
  if (cause.empty()) cause = "it ended without a word";
  e.cause(cause);
  if (launch.sudo && launch.password == nullptr && said.find("sudo") != std::string::npos) {
    e.remedy(
        "give --ask-sudo-password, allow it without one (NOPASSWD in sudoers), or leave --sudo "
        "out");
  } else if (said.find("command not found") != std::string::npos ||
             said.find("not found") != std::string::npos) {
    e.remedy("the login must allow to run sh");
  }
  return e;
}

// One command of the deployment and its report; the stream goes on behind it where it runs an
// agent.
struct exchange {
  std::unique_ptr<stream> io;
  launch_report report;
  byte_vector rest;
};

class deployment {
 public:
  deployment(remote_host& host, agent_images images, agent_launch launch, log_sink& log)
      : host_(host), images_(images), launch_(std::move(launch)), log_(log) {}

  task<launched_agent> run();

 private:
  task<exchange> ask(std::string command, byte_view input, std::size_t window_bytes);
  task<std::optional<launched_agent>> native();
  task<std::optional<launched_agent>> try_binary(agent_binary const& binary);
  task<bool> upload(agent_binary const& binary, usable_directory const& where,
                    uploaded_agent const& as);
  task<launched_agent> python();
  task<launched_agent> started(exchange e, bool is_python, bool uploaded);
  [[nodiscard]] sudo_use sudo() const noexcept {
    if (!launch_.sudo) return sudo_use::none;
    return launch_.password != nullptr ? sudo_use::with_password : sudo_use::without_password;
  }

  remote_host& host_;
  agent_images images_;
  agent_launch launch_;
  log_sink& log_;
  std::string machine_;
  bool has_python_ = true;
  std::vector<std::string> refused_;
};

// Runs a command, gives it `input`, and reads until its report is whole.
task<exchange> deployment::ask(std::string command, byte_view input, std::size_t window_bytes) {
  exchange e;
  e.io = co_await host_.exec(std::move(command), window_bytes);
  report_parser parser(launch_.nonce_hex);
  bool const reported = co_await converse(*e.io, input, false, parser);
  if (!reported) {
    auto const report = co_await e.io->close();
    throw did_not_start(report, parser.noise(), launch_);
  }
  e.report = parser.report();
  e.rest.assign(parser.rest().begin(), parser.rest().end());
  co_return e;
}

// The agent has begun when its first bytes are here; sudo, for one, may still have refused.
task<launched_agent> deployment::started(exchange e, bool is_python, bool uploaded) {
  if (sudo() == sudo_use::with_password) {
    // Not before it has said that it goes on with sudo: no other program is to read this.
    auto input = launch_.password->input(launch_.nonce_hex);
    if (is_python) input += images_.fallback_script;
    co_await feed(*e.io, as_bytes(input), false);
  }
  if (e.rest.empty()) {
    e.rest.resize(limits::launch_report_bytes_max);
    e.rest.resize(co_await e.io->read(byte_span(e.rest)));
  }
  if (e.rest.empty()) {
    auto const report = co_await e.io->close();
    throw did_not_start(report, "", launch_);
  }
  launched_agent agent;
  agent.io = std::make_unique<replayed_stream>(std::move(e.io), std::move(e.rest));
  agent.python = is_python;
  agent.uploaded = uploaded;
  agent.location = std::move(e.report.location);
  co_return agent;
}

// File transfer if the host offers it and it works, else through a command's stdin.
task<bool> deployment::upload(agent_binary const& binary, usable_directory const& where,
                              uploaded_agent const& as) {
  auto const path = format("{}/{}.tmp", where.path, as.random_hex);
  try {
    if (co_await host_.put_file(path, binary.content)) co_return true;
    log_.debug("no file transfer on the target: sending the agent through a command");
  } catch (error const& e) {
    if (e.kind() == severity::transient) throw;
    log_.debug(format("file transfer failed, sending the agent through a command: {}", e.what()));
  }
  auto e = co_await host_.exec(receive_command(launch_.nonce_hex, as), launch_.window_bytes);
  report_parser parser(launch_.nonce_hex);
  static_cast<void>(co_await converse(*e, binary.content, true, parser));
  auto const report = co_await e->close();
  if (!parser.report().received) {
    refused_.push_back(format("{}: {}", where.path, printable(report.stderr_tail, 256)));
  }
  co_return parser.report().received;
}

task<std::optional<launched_agent>> deployment::try_binary(agent_binary const& binary) {
  auto e = co_await ask(launch_command(binary.digest, launch_.nonce_hex, sudo(), std::nullopt), {},
                        launch_.window_bytes);
  if (e.report.running) co_return co_await started(std::move(e), false, false);
  co_await e.io->close();
  machine_ = e.report.machine;
  has_python_ = e.report.has_python;
  refused_ = e.report.refused;
  if (machine_ != binary.machine) co_return std::nullopt;

  for (auto const& where : e.report.usable) {
    uploaded_agent const as{where.number, random_hex(), binary.content.size()};
    if (!co_await upload(binary, where, as)) continue;
    auto again = co_await ask(launch_command(binary.digest, launch_.nonce_hex, sudo(), as), {},
                              launch_.window_bytes);
    if (again.report.running) co_return co_await started(std::move(again), false, true);
    co_await again.io->close();
    for (auto const& reason : again.report.refused) {
      if (reason.starts_with(where.path)) refused_.push_back(reason);
    }
  }
  co_return std::nullopt;
}

task<std::optional<launched_agent>> deployment::native() {
  for (auto const& binary : images_.native) {
    auto agent = co_await try_binary(binary);
    if (agent) co_return agent;
  }
  co_return std::nullopt;
}

task<launched_agent> deployment::python() {
  auto const script = images_.fallback_script;
  // With a password the program text comes behind that.
  bool const later = sudo() == sudo_use::with_password;
  auto e = co_await ask(python_command(launch_.nonce_hex, sudo(), script.size()),
                        as_bytes(later ? std::string_view() : script), launch_.window_bytes);
  if (!e.report.running) {
    co_await e.io->close();
    throw error(transport_errc::no_place_for_agent, severity::permanent)
        .cause("there is no python3 on the target")
        .remedy("install python3 there, or make a directory where programs may run");
  }
  co_return co_await started(std::move(e), true, false);
}

task<launched_agent> deployment::run() {
  if (sudo() == sudo_use::with_password) {
    co_await launch_.password->verify(host_, launch_.machine);
  }
  std::string why;  // the native agent does not run there
  if (launch_.agent != agent_choice::python) {
    auto agent = co_await native();
    if (agent) co_return std::move(*agent);
    bool const other_machine =
        std::none_of(images_.native.begin(), images_.native.end(),
                     [this](agent_binary const& b) { return b.machine == machine_; });
    if (other_machine) {
      why = format("there is no agent for '{}'", machine_);
    } else {
      for (auto const& reason : refused_) why += (why.empty() ? "" : "; ") + reason;
    }
    if (launch_.agent == agent_choice::native || !has_python_) {
      throw error(transport_errc::no_place_for_agent, severity::permanent)
          .cause(why)
          .remedy(has_python_ ? "use --agent auto, which takes python3 there"
                              : "make a directory where programs may run, or install python3");
    }
    log_.info("using the Python agent: " + why);
  }
  try {
    co_return co_await python();
  } catch (error& e) {
    // Either would do: what keeps the better one away is worth knowing as well.
    bool const none_runs = e.code() == transport_errc::agent_did_not_start ||
                           e.code() == transport_errc::no_place_for_agent;
    if (none_runs && !why.empty()) {
      e.cause(format("python3: {}; the native agent: {}", e.cause(), why));
    }
    throw;
  }
}

}  // namespace

task<launched_agent> launch_agent(remote_host& host, agent_images images, agent_launch launch,
                                  log_sink& log) {
  deployment all(host, images, std::move(launch), log);
  co_return co_await all.run();
}

}  // namespace diskdump
