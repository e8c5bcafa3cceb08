#include "transport/sudo.hpp"

#include <string.h>

#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "transport/connect.hpp"
#include "transport/converse.hpp"
#include "transport/deploy_script.hpp"

namespace diskdump {

sudo_password::sudo_password(asio::any_io_executor executor, std::string password)
    : executor_(std::move(executor)), password_(std::move(password)) {}

sudo_password::~sudo_password() { ::explicit_bzero(password_.data(), password_.size()); }

std::string sudo_password::input(std::string_view nonce_hex) const {
  return format("{}\n{}-go\n", password_, report_mark(nonce_hex));
}

task<> sudo_password::verify(remote_host& host, std::string machine) {
  auto& known = logins_.try_emplace(std::move(machine), executor_).first->second;
  while (known.asking) co_await known.answered.wait();
  if (known.refusal) std::rethrow_exception(known.refusal);
  if (known.accepted) co_return;
  struct turn {
    login& of;
    explicit turn(login& which) : of(which) { of.asking = true; }
    ~turn() {
      of.asking = false;
      of.answered.wake_all();
    }
  } const mine(known);
  try {
    co_await ask(host);
    known.accepted = true;
  } catch (error const& e) {
    if (e.code() == transport_errc::sudo_refused) known.refusal = std::current_exception();
    throw;
  }
}

task<> sudo_password::ask(remote_host& host) {
  auto const nonce = random_hex();
  auto io = co_await host.exec(sudo_check_command(nonce), limits::channel_window_bytes_min);
  report_parser parser(nonce);
  auto const line = password_ + "\n";
  // The end of stdin behind the password: sudo has nothing to try a second time.
  static_cast<void>(co_await converse(*io, as_bytes(line), true, parser));
  auto const report = co_await io->close();
  if (parser.report().received) co_return;
  auto said = printable(without_sudo_prompts(report.stderr_tail, nonce));
  if (said.empty()) said = parser.noise();
  throw error(transport_errc::sudo_refused, severity::permanent)
      .cause(said.empty() ? "it ended without a word" : said);
}

std::string without_sudo_prompts(std::string text, std::string_view nonce_hex) {
  auto const prompt = report_mark(nonce_hex) + "-ask";
  for (auto at = text.find(prompt); at != std::string::npos; at = text.find(prompt)) {
    text.erase(at, prompt.size());
  }
  return text;
}

}  // namespace diskdump
