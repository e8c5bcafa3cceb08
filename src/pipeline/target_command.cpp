#include "pipeline/target_command.hpp"

#include <utility>

#include "async/scope.hpp"
#include "async/shield.hpp"
#include "async/timeout.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "pipeline/command_output.hpp"
#include "transport/converse.hpp"
#include "transport/deploy_script.hpp"

namespace diskdump {

namespace {

error command_error(std::string_view flag, std::string_view why) {
  return error(pipeline_errc::command_failed, severity::permanent)
      .cause(format("{}: {}", flag, why));
}

task<> read_output(stream& from, command_output& output) {
  byte_vector buffer(limits::child_output_bytes);
  while (!output.status()) {
    auto const n = co_await from.read(byte_span(buffer));
    if (n == 0) co_return;
    output.feed(byte_view(buffer).first(n));
  }
}

// Completes at the command's end, or at that of stdout.
task<> talk(stream& with, byte_view input, command_output& output) {
  co_await with_scope([&](scope& both) {
    both.spawn(feed(with, input, true));
    both.spawn(read_output(with, output));
  });
}

std::string end_of(exit_report const& report, std::string const& nonce) {
  auto why = printable(without_sudo_prompts(report.stderr_tail, nonce));
  if (report.signal) why += format(" (killed by signal {})", *report.signal);
  if (why.empty() && report.status) why = format("its shell ended with status {}", *report.status);
  return why.empty() ? "its shell ended without a word" : why;
}

// What became of post where it did not end well.
error post_error(error const& e, bool begun) {
  if (e.code() == pipeline_errc::command_failed) return e;
  return command_error("--post", begun ? format("unknown how it ended: {}", e.what())
                                       : format("it could not be run: {}", e.what()));
}

}  // namespace

std::string shell_word(std::string_view text) {
  std::string word = "'";
  for (char const c : text) {
    if (c == '\'') {
      word += "'\\''";
    } else {
      word += c;
    }
  }
  return word + "'";
}

target_commands::target_commands(dump_context& context, fleet_target const& target,
                                 fleet_options const& options, fleet_observer& observer)
    : context_(context), target_(target), options_(options), observer_(observer) {}

std::string target_commands::script(kind which, std::string const& mark,
                                    std::string_view status) const {
  auto text =
      format("echo {}:begin\nDISKDUMP_HOST={} DISKDUMP_PATH={} DISKDUMP_NAME={} ", mark,
             shell_word(target_.host), shell_word(target_.path), shell_word(target_.manifest_name));
  if (which == kind::post) text += format("DISKDUMP_STATUS={} ", status);
  // What it prints to stdout and stderr comes in one order, and it cannot take the rest of this
  // script for its input.
  text += format("sh -c {} </dev/null 2>&1\necho {}:status:$?\n",
                 shell_word(which == kind::pre ? target_.pre : target_.post), mark);
  return text;
}

task<std::unique_ptr<stream>> target_commands::open(remote_host& machine, std::string command,
                                                    sudo_password* password) {
  if (password != nullptr) co_await password->verify(machine, login_name(target_));
  // From before the first byte: a command whose connection is lost may have begun all the same.
  auto const begun_before = std::exchange(begun_, true);
  try {
    co_return co_await machine.exec(std::move(command), limits::channel_window_bytes_min);
  } catch (error const& e) {
    if (e.code() == transport_errc::no_more_sessions) begun_ = begun_before;
    throw;
  }
}

task<> target_commands::run(remote_host& machine, kind which, std::string_view status,
                            bool& begun) {
  auto const* const flag = which == kind::pre ? "--pre" : "--post";
  auto* const password = target_.sudo ? options_.sudo : nullptr;
  auto const use = !target_.sudo         ? sudo_use::none
                   : password != nullptr ? sudo_use::with_password
                                         : sudo_use::without_password;
  auto const nonce = random_hex();
  std::unique_ptr<stream> io;
  try {
    io = co_await with_timeout(context_.timers, limits::deploy_timeout_max,
                               open(machine, script_command(nonce, use), password));
  } catch (error const& e) {
    if (!is_timeout(e)) throw;
    throw command_error(flag, format("it could not be begun within {} seconds{}",
                                     limits::deploy_timeout_max.count(),
                                     password != nullptr ? ", or sudo did not answer" : ""));
  }
  auto const input = (password != nullptr ? password->input(nonce) : std::string()) +
                     script(which, report_mark(nonce), status);
  command_output output(report_mark(nonce), [&](std::string const& line) {
    observer_.on_output(target_, which == kind::pre ? "pre" : "post", line);
  });
  try {
    co_await with_timeout(context_.timers, limits::target_command_time_max,
                          talk(*io, as_bytes(input), output));
  } catch (error const& e) {
    begun = output.begun();
    if (!is_timeout(e)) throw;
    throw command_error(flag, format("it has not ended within {} minutes",
                                     limits::target_command_time_max.count()));
  }
  begun = output.begun();
  auto const report = co_await io->close();
  if (output.status() == 0) co_return;
  if (!output.status()) throw command_error(flag, end_of(report, nonce));
  throw command_error(flag, format("it ended with status {}{}{}", *output.status(),
                                   output.last_line().empty() ? "" : ": ", output.last_line()));
}

task<> target_commands::run_pre(remote_host& machine) {
  bool begun = false;
  try {
    co_await run(machine, kind::pre, "", begun);
  } catch (error const& e) {
    if (e.code() == pipeline_errc::command_failed || !begun_) throw;
    throw command_error("--pre", e.what());
  }
}

task<> target_commands::before(remote_host& machine) {
  if (begun_) co_return;
  if (target_.pre.empty()) {
    begun_ = true;
    co_return;
  }
  co_await shielded(run_pre(machine));
}

task<> target_commands::after(remote_host* machine, connector const& connect, bool dumped_well) {
  auto const& clock = context_.timers.clock();
  auto const give_up = clock.now() + limits::post_connect_time_max;
  std::unique_ptr<remote_host> own;
  for (;;) {
    std::optional<error> failure;
    bool begun = false;
    try {
      if (machine == nullptr) {
        own = co_await with_timeout(context_.timers, give_up - clock.now(), connect(target_));
        machine = own.get();
      }
      co_await run(*machine, kind::post, dumped_well ? "ok" : "failed", begun);
    } catch (error const& e) {
      failure = e;
    }
    if (!failure) break;
    // Where other dumps have all its sessions, a connection of our own has one.
    bool const refused = failure->code() == transport_errc::no_more_sessions && !own;
    bool const again = (failure->kind() == severity::transient || refused) && !begun &&
                       clock.now() + limits::post_connect_pause < give_up;
    if (!again) throw post_error(*failure, begun);
    context_.log.warning(
        format("{}: --post: connecting again: {}", target_.label, failure->what()));
    machine = nullptr;
    own.reset();
    co_await context_.timers.sleep(limits::post_connect_pause);
  }
  if (!own) co_return;
  try {
    co_await own->close();
  } catch (std::exception const& e) {
    context_.log.debug(format("{}: closing: {}", target_.label, e.what()));
  }
}

}  // namespace diskdump
