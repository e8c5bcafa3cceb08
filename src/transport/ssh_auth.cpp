#include <unistd.h>

#include <atomic>

#include "async/timeout.hpp"
#include "async/wait_list.hpp"
#include "async/watcher.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "transport/identity_file.hpp"
#include "transport/passphrase_book.hpp"
#include "transport/ssh_connect.hpp"

namespace diskdump {

namespace {

bool offers(std::string_view methods, std::string_view one) {
  while (!methods.empty()) {
    auto const comma = std::min(methods.find(','), methods.size());
    if (methods.substr(0, comma) == one) return true;
    methods.remove_prefix(std::min(comma + 1, methods.size()));
  }
  return false;
}

class authentication {
 public:
  authentication(std::shared_ptr<ssh_session> session, ssh_settings settings, bool fallback)
      : session_(std::move(session)), settings_(std::move(settings)), fallback_(fallback) {}

  task<> run() {
    try {
      co_await run_methods();
    } catch (error const& e) {
      // A server that has had enough of tries closes the connection.
      bool const closed = e.code() == transport_errc::connection_lost && !mute_;
      if (closed && !tried_.empty()) throw refused(e.cause());
      throw;
    } catch (ssh_failure const& failed) {
      throw refused(failed.what());
    }
  }

 private:
  using outcome = auth_outcome;

  // One exchange with the server, bounded in time. Blocking parts are off the loop.
  template <class F>
  task<typename std::invoke_result_t<F&, ssh_machine&>::value_type> step(F fn) {
    try {
      co_return co_await with_timeout(
          session_->context().timers, limits::silence_timeout_max,
          session_->drive(std::move(fn), ssh_session::runner::blocking));
    } catch (error const& e) {
      if (!is_timeout(e)) throw;
      throw mute();
    }
  }

  // It may be better another time, whatever was refused before.
  [[nodiscard]] error mute() {
    mute_ = true;
    return error(transport_errc::connection_lost, severity::transient)
        .host(session_->host())
        .cause("the server does not answer the authentication");
  }

  task<> run_methods() {
    auto const& user = settings_.user;
    methods_ = co_await step([&user](ssh_machine& m) { return m.auth_methods(user); });
    if (methods_.empty()) co_return;  // the server asks for nothing
    if (offers(methods_, "publickey") && co_await try_keys()) co_return;
    if (fallback_ && !for_openssh_.empty()) {
      throw libssh2_unsuitable{for_openssh_, refused("")};
    }
    if (!offers(methods_, "password") && !offers(methods_, "keyboard-interactive")) {
      // A key may have been the first of two factors.
      methods_ = co_await step([&user](ssh_machine& m) { return m.auth_methods(user); });
    }
    if (offers(methods_, "password")) {
      if (co_await try_password()) co_return;
    } else if (offers(methods_, "keyboard-interactive")) {
      if (co_await try_interactive()) co_return;
    }
    throw refused("");
  }

  // ---- Keys
  // --------------------------------------------------------------------------------------

  task<bool> try_keys() {
    auto const paths = settings_.identity_files;
    files_ = co_await offload(session_->context().blocking, [&] {
      std::vector<identity_file> all;
      for (auto const& path : paths) all.push_back(inspect_identity_file(path));
      return all;
    });
    for (auto const& file : files_) {
      if (file.certificate) needs_openssh(format("the certificate {}-cert.pub", file.path));
      if (file.exists && file.key && is_hardware_key(file.key->type)) {
        needs_openssh(format("the hardware key {}", file.path));
      }
    }
    if (!settings_.certificate_files.empty()) {
      needs_openssh(format("the certificate {}", settings_.certificate_files.front()));
    }
    if (co_await try_agent()) co_return true;
    for (auto const& file : files_) {
      if (co_await try_file(file)) co_return true;
    }
    co_return false;
  }

  task<bool> try_agent() {
    auto const socket = settings_.identity_agent;
    if (socket.empty() || ::access(socket.c_str(), F_OK) != 0) co_return false;
    std::vector<agent_key> keys;
    try {
      keys = co_await step(
          [&socket](ssh_machine& machine) { return std::optional(machine.agent_keys(socket)); });
    } catch (ssh_failure const& failed) {
      note(format("ssh-agent {}: {}", socket, failed.what()));
      co_return false;
    }
    // Those that stand in the configuration first and in its order, as OpenSSH does: a server
    // takes six tries only.
    std::vector<std::size_t> order;
    for (auto const& file : files_) {
      for (std::size_t i = 0; i < keys.size(); ++i) {
        if (file.key && keys[i].key.blob == file.key->blob) order.push_back(i);
      }
    }
    for (std::size_t i = 0; i < keys.size() && !settings_.identities_only; ++i) {
      if (std::find(order.begin(), order.end(), i) == order.end()) order.push_back(i);
    }
    for (auto const i : order) {
      auto const& key = keys[i].key;
      auto const what = format("{} {} of the agent", key.type, fingerprint(key.blob));
      if (is_hardware_key(key.type) || is_certificate_type(key.type)) {
        needs_openssh(what);
        continue;
      }
      auto const& user = settings_.user;
      outcome result{};
      try {
        result = co_await step([&user, i](ssh_machine& m) { return m.auth_agent(user, i); });
      } catch (ssh_failure const& failed) {
        note(format("ssh-agent {}: {}", socket, failed.what()));
        co_return false;
      }
      done_blobs_.push_back(key.blob);
      if (result == outcome::accepted) co_return true;
      note_refused_key(key.type, what);
    }
    co_return false;
  }

  task<bool> try_file(identity_file const& file) {
    if (!file.unusable.empty()) {
      // Default names that do not exist are not worth a word.
      if (file.exists) note(format("{}: {}", file.path, file.unusable));
      co_return false;
    }
    if (file.key) {
      auto const& blob = file.key->blob;
      if (std::find(done_blobs_.begin(), done_blobs_.end(), blob) != done_blobs_.end()) {
        co_return false;
      }
      if (is_hardware_key(file.key->type)) {
        note(format("{}: hardware key", file.path));
        co_return false;
      }
    }
    if (file.encrypted) co_return co_await try_encrypted_file(file);
    co_return co_await try_file_with(file, "");
  }

  task<bool> try_encrypted_file(identity_file const& file) {
    auto const& user = settings_.user;
    if (file.key) {
      // Nobody is asked for the passphrase of a key that the server does not want.
      auto const& key = *file.key;
      auto const wanted =
          co_await step([&user, &key](ssh_machine& m) { return m.auth_probe(user, key); });
      if (wanted == outcome::refused) {
        note_refused_key(key.type, file.path);
        co_return false;
      }
    }
    auto& context = session_->context();
    auto const question = format("Enter passphrase for key '{}': ", file.path);
    for (int round = 0; round < limits::secret_tries_max;) {
      if (!context.passphrases.knows(file.path)) question_comes();
      auto const said = co_await ask_person([&](std::atomic<bool> const& wanted) {
        return context.passphrases.ask(file.path, context.prompt, question, wanted);
      });
      if (!said) {
        note(format("{}: needs a passphrase, and there is no terminal to ask on, or none was given",
                    file.path));
        co_return false;
      }
      if (said->asked) ++round;
      try {
        co_return co_await try_file_with(file, said->passphrase);
      } catch (ssh_failure const& failed) {
        if (!failed.key_file()) throw;
        note(format("{}: wrong passphrase", file.path));
      }
      context.passphrases.forget(file.path, said->passphrase);
    }
    co_return false;
  }

  task<bool> try_file_with(identity_file const& file, std::string passphrase) {
    auto const& user = settings_.user;
    auto const& path = file.path;
    try {
      auto const result = co_await step([&user, &path, &passphrase](ssh_machine& machine) {
        return machine.auth_key_file(user, path, passphrase);
      });
      if (result == outcome::accepted) co_return true;
      note_refused_key(file.key ? file.key->type : "", path);
    } catch (ssh_failure const& failed) {
      if (!failed.key_file() || !passphrase.empty()) throw;
      note(format("{}: {}", path, failed.what()));
      needs_openssh(format("the key {}, which libssh2 cannot read", path));
    }
    co_return false;
  }

  // ---- A person
  // ----------------------------------------------------------------------------------

  task<bool> try_password() {
    auto const& user = settings_.user;
    for (int round = 0; round < limits::secret_tries_max; ++round) {
      auto const password = co_await ask(format("{}@{}'s password: ", user, settings_.hostname));
      if (!password) {
        note("password: no terminal to ask on");
        co_return false;
      }
      auto const result = co_await step(
          [&user, &password](ssh_machine& m) { return m.auth_password(user, *password); });
      if (result == outcome::accepted) co_return true;
      note("password: refused");
    }
    co_return false;
  }

  // Whom a server asks through libssh2, from within a step and so on a thread of its own.
  struct questions {
    std::atomic<bool> wanted = true;  // an answer; until the login is given up
    std::atomic<bool> asking = false;
    std::atomic<unsigned> answered = 0;
    std::atomic<bool> declined = false;
  };

  // The person may take his time, and the server's LoginGraceTime bounds that; the server may not.
  // Ends only by what it throws.
  task<> watch_questions(questions& asked) {
    try {
      for (;;) {
        auto const before = asked.answered.load();
        co_await session_->context().timers.sleep(limits::silence_timeout_max);
        if (!asked.asking && asked.answered == before) throw mute();
      }
    } catch (...) {
      asked.wanted = false;
      throw;
    }
  }
  task<outcome> converse(question_handler const& handler, questions& asked) {
    auto const& user = settings_.user;
    co_return co_await with_watcher(
        session_->drive(
            [&user, &handler](ssh_machine& m) { return m.auth_interactive(user, handler); },
            ssh_session::runner::blocking),
        watch_questions(asked));
  }

  task<bool> try_interactive() {
    auto& prompt = session_->context().prompt;
    questions asked;
    auto const prefix = format("{}@{}: ", settings_.user, settings_.hostname);
    question_handler const handler = [&](std::string_view question) {
      asked.asking = true;
      auto answer = prompt.ask(prefix + printable(question), asked.wanted);
      ++asked.answered;
      asked.asking = false;
      if (!answer) asked.declined = true;
      return answer;
    };
    question_comes();
    for (int round = 0; round < limits::secret_tries_max && !asked.declined; ++round) {
      asked.wanted = true;
      if (co_await converse(handler, asked) == outcome::accepted) co_return true;
      note(asked.declined ? "keyboard-interactive: no terminal to ask on"
                          : "keyboard-interactive: refused");
    }
    co_return false;
  }

  task<std::optional<std::string>> ask(std::string question) {
    auto& prompt = session_->context().prompt;
    question_comes();
    co_return co_await ask_person(
        [&](std::atomic<bool> const& wanted) { return prompt.ask(question, wanted); });
  }

  void question_comes() {
    if (auto* const place = session_->context().place) place->question_comes();
  }

  // Asks by `fn`, on a thread of its own, where it may have to wait for its turn. A login that is
  // given up meanwhile wants no answer any more.
  template <class F>
  task<std::invoke_result_t<F&, std::atomic<bool> const&>> ask_person(F fn) {
    std::atomic<bool> wanted = true;
    co_return co_await with_watcher(ask_while(fn, wanted), watch_wanted(wanted));
  }
  template <class F>
  task<std::invoke_result_t<F&, std::atomic<bool> const&>> ask_while(
      F& fn, std::atomic<bool> const& wanted) {
    auto answer = co_await offload(session_->context().blocking, [&] { return fn(wanted); });
    // What was not waited for any more is no answer.
    if (!wanted) {
      throw std::system_error(asio::error::make_error_code(asio::error::operation_aborted));
    }
    co_return answer;
  }
  // Ends only when it is cancelled.
  task<> watch_wanted(std::atomic<bool>& wanted) {
    wait_list nothing(session_->context().executor);
    try {
      co_await nothing.wait();
    } catch (...) {
      wanted = false;
      throw;
    }
  }

  // ---- What is said in the end
  // -------------------------------------------------------------------

  void note(std::string line) {
    if (!tried_.ends_with(line)) tried_ += (tried_.empty() ? "" : "; ") + line;
  }
  void needs_openssh(std::string what) {
    if (for_openssh_.empty()) for_openssh_ = std::move(what);
  }
  void note_refused_key(std::string_view type, std::string_view what) {
    if (type == "ssh-rsa" && !ssh_machine::signs_rsa_with_sha2()) {
      needs_openssh(format("the RSA key {}, for which this libssh2 has SHA-1 only", what));
      note(format("{}: refused (this libssh2 signs with SHA-1, which servers no longer take)",
                  what));
    } else {
      note(format("{}: refused", what));
    }
  }

  [[nodiscard]] error refused(std::string_view why) const {
    auto cause = format("user {}: the server allows {}; tried: {}", settings_.user,
                        methods_.empty() ? "nothing that was heard of" : printable(methods_),
                        tried_.empty() ? "no key was found" : tried_);
    if (!why.empty()) cause += format("; {}", why);
    return error(transport_errc::authentication_failed, severity::permanent)
        .host(session_->host())
        .cause(cause)
        .remedy(for_openssh_.empty()
                    ? format("does `ssh -l {} {}` work?", settings_.user, settings_.name)
                    : std::string("--transport openssh can use the rest"));
  }

  std::shared_ptr<ssh_session> session_;
  ssh_settings settings_;
  bool fallback_;
  bool mute_ = false;  // the server did not answer, which ended it
  std::string methods_;
  std::vector<identity_file> files_;
  std::vector<byte_vector> done_blobs_;
  std::string tried_;
  std::string for_openssh_;  // the first thing that OpenSSH could do and libssh2 cannot
};

}  // namespace

task<> authenticate(std::shared_ptr<ssh_session> session, ssh_settings settings, bool fallback) {
  authentication one(std::move(session), std::move(settings), fallback);
  co_await one.run();
}

}  // namespace diskdump
