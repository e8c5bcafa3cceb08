// The authentication half of ssh_machine.
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/assert.hpp"
#include "base/error.hpp"
#include "base/format.hpp"
#include "transport/private_folder.hpp"
#include "transport/ssh_machine_state.hpp"

namespace diskdump {

namespace {

// Refusals that are an answer and not a failure.
bool is_refusal(int code) noexcept {
  return code == LIBSSH2_ERROR_AUTHENTICATION_FAILED ||
         code == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED || code == LIBSSH2_ERROR_PASSWORD_EXPIRED ||
         code == LIBSSH2_ERROR_REQUEST_DENIED;
}

// Bounds every call on the socket, and connect() where the queue of a UNIX socket is full: that is
// EAGAIN then.
void bound_calls(int fd, std::chrono::milliseconds time_max) noexcept {
  auto const us = std::chrono::microseconds(time_max).count();
  constexpr int us_per_s = 1'000'000;
  timeval const limit{.tv_sec = us / us_per_s, .tv_usec = us % us_per_s};
  for (int const which : {SO_SNDTIMEO, SO_RCVTIMEO}) {
    static_cast<void>(::setsockopt(fd, SOL_SOCKET, which, &limit, sizeof limit));
  }
}

// The address of a UNIX socket; nullopt where the path is too long for one.
std::optional<sockaddr_un> address_of(std::string const& path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return std::nullopt;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

unsigned length(std::string const& text) noexcept { return static_cast<unsigned>(text.size()); }

// Asked to sign by auth_probe(): the server would accept this key, and that was the question.
int note_and_refuse(LIBSSH2_SESSION* session, unsigned char**, std::size_t*, unsigned char const*,
                    std::size_t, void**) {
  static_cast<ssh_machine::state*>(*::libssh2_session_abstract(session))->signature_wanted = true;
  return -1;
}

void answer_questions(char const*, int, char const* instruction, int instruction_size, int count,
                      LIBSSH2_USERAUTH_KBDINT_PROMPT const* prompts,
                      LIBSSH2_USERAUTH_KBDINT_RESPONSE* responses, void** abstract) {
  auto& self = *static_cast<ssh_machine::state*>(*abstract);
  for (int i = 0; i < count; ++i) {
    std::string question;
    if (i == 0 && instruction_size > 0) {
      question.assign(instruction, static_cast<std::size_t>(instruction_size));
      question += '\n';
    }
    question.append(reinterpret_cast<char const*>(prompts[i].text), prompts[i].length);
    auto const answer = self.ask_declined ? std::optional<std::string>() : (*self.ask)(question);
    if (!answer) self.ask_declined = true;
    // libssh2 frees it.
    auto const size = answer ? answer->size() : 0;
    auto* const text = static_cast<char*>(ssh_machine::state::on_allocate(size + 1, abstract));
    if (text != nullptr && answer) std::memcpy(text, answer->data(), size);
    responses[i].text = text;
    responses[i].length = text != nullptr ? static_cast<unsigned>(size) : 0;
  }
}

}  // namespace

std::optional<std::string> ssh_machine::auth_methods(std::string const& user) {
  auto& self = *state_;
  self.begin();
  auto const* const list = ::libssh2_userauth_list(self.session, user.data(), length(user));
  if (list != nullptr) return std::string(list);
  if (::libssh2_userauth_authenticated(self.session) != 0) return std::string();
  if (self.again(::libssh2_session_last_errno(self.session))) return std::nullopt;
  return std::string();
}

std::optional<auth_outcome> ssh_machine::auth_probe(std::string const& user,
                                                    public_key const& key) {
  auto& self = *state_;
  self.begin();
  self.signature_wanted = false;
  void* abstract = nullptr;
  int const code = ::libssh2_userauth_publickey(
      self.session, user.c_str(), reinterpret_cast<unsigned char const*>(key.blob.data()),
      key.blob.size(), note_and_refuse, &abstract);
  if (self.signature_wanted) return auth_outcome::accepted;
  if (is_refusal(code)) return auth_outcome::refused;
  if (self.again(code)) return std::nullopt;
  return auth_outcome::accepted;
}

std::optional<auth_outcome> ssh_machine::auth_key_file(std::string const& user,
                                                       std::string const& path,
                                                       std::string const& passphrase) {
  auto& self = *state_;
  self.begin();
  int const code = ::libssh2_userauth_publickey_fromfile_ex(
      self.session, user.data(), length(user), nullptr, path.c_str(),
      passphrase.empty() ? nullptr : passphrase.c_str());
  if (is_refusal(code)) return auth_outcome::refused;
  if (self.again(code)) return std::nullopt;
  return auth_outcome::accepted;
}

std::optional<auth_outcome> ssh_machine::auth_password(std::string const& user,
                                                       std::string const& password) {
  auto& self = *state_;
  self.begin();
  int const code = ::libssh2_userauth_password_ex(self.session, user.data(), length(user),
                                                  password.data(), length(password), nullptr);
  if (is_refusal(code)) return auth_outcome::refused;
  if (self.again(code)) return std::nullopt;
  return auth_outcome::accepted;
}

std::optional<auth_outcome> ssh_machine::auth_interactive(std::string const& user,
                                                          question_handler const& ask) {
  auto& self = *state_;
  self.begin();
  self.ask = &ask;
  int const code = ::libssh2_userauth_keyboard_interactive_ex(self.session, user.data(),
                                                              length(user), answer_questions);
  self.ask = nullptr;
  if (is_refusal(code)) return auth_outcome::refused;
  if (self.again(code)) return std::nullopt;
  return auth_outcome::accepted;
}

void ssh_machine::state::fail_agent(int code) {
  if (agent_silent) throw ssh_failure(code, "it does not answer", false);
  try {
    fail(code);
  } catch (ssh_failure const& failed) {
    throw ssh_failure(code, failed.what(), false);
  }
}

void ssh_machine::state::connect_agent(std::string const& path,
                                       std::chrono::milliseconds time_max) {
  auto const failed = [](int code) {
    return ssh_failure(LIBSSH2_ERROR_BAD_USE, format("connect: {}", std::strerror(code)), false);
  };
  auto const address = address_of(path);
  if (!address) throw failed(ENAMETOOLONG);
  unique_fd to_agent(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!to_agent) throw failed(errno);
  bound_calls(to_agent.get(), time_max);
  int done = 0;
  do {
    done = ::connect(to_agent.get(), reinterpret_cast<sockaddr const*>(&*address), sizeof *address);
  } while (done != 0 && errno == EINTR);
  if (done != 0 && agent_result(done) == -ETIMEDOUT) fail_agent(LIBSSH2_ERROR_BAD_USE);
  if (done != 0) throw failed(errno);
  bound_calls(to_agent.get(), agent_reply_time_max);
  agent_socket = std::move(to_agent);
}

// It makes a connection of its own, and for a socket with a full queue it would wait for ever. One
// of ours takes it at once.
void ssh_machine::state::connect_libssh2() {
  std::optional<private_folder> folder;
  try {
    folder.emplace();
  } catch (error const& failure) {
    throw ssh_failure(LIBSSH2_ERROR_BAD_USE, failure.what(), false);
  }
  auto const path = folder->socket();
  auto const address = address_of(path).value();
  unique_fd const taker(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!taker ||
      ::bind(taker.get(), reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 ||
      ::listen(taker.get(), 1) != 0) {
    throw ssh_failure(LIBSSH2_ERROR_BAD_USE, format("{}: {}", path, std::strerror(errno)), false);
  }
  ::libssh2_agent_set_identity_path(agent, path.c_str());
  if (int const code = ::libssh2_agent_connect(agent); code != 0) fail_agent(code);
}

std::vector<agent_key> ssh_machine::agent_keys(std::string const& socket_path,
                                               agent_patience const& patience) {
  auto& self = *state_;
  self.begin();
  self.agent_reply_time_max = patience.reply_max;
  DISKDUMP_ASSERT(self.agent == nullptr);
  self.agent = ::libssh2_agent_init(self.session);
  if (self.agent == nullptr) self.fail(LIBSSH2_ERROR_ALLOC);
  self.connect_agent(socket_path, patience.connect_max);
  self.connect_libssh2();
  if (int const code = ::libssh2_agent_list_identities(self.agent); code != 0)
    self.fail_agent(code);
  std::vector<agent_key> keys;
  libssh2_agent_publickey* entry = nullptr;
  while (keys.size() < limits::agent_keys_max &&
         ::libssh2_agent_get_identity(self.agent, &entry, entry) == 0) {
    agent_key found;
    found.key = key_of({reinterpret_cast<std::byte const*>(entry->blob), entry->blob_len});
    found.comment = entry->comment != nullptr ? entry->comment : "";
    self.agent_entries.push_back(entry);
    keys.push_back(std::move(found));
  }
  return keys;
}

std::optional<auth_outcome> ssh_machine::auth_agent(std::string const& user, std::size_t index) {
  auto& self = *state_;
  self.begin();
  DISKDUMP_ASSERT(index < self.agent_entries.size());
  int const code = ::libssh2_agent_userauth(self.agent, user.c_str(), self.agent_entries[index]);
  if (self.agent_silent) self.fail_agent(code);
  if (is_refusal(code)) return auth_outcome::refused;
  if (self.again(code)) return std::nullopt;
  return auth_outcome::accepted;
}

// Of a call on the ssh-agent's socket, which is a blocking one with bounds in time. libssh2 would
// repeat one that it was told to repeat.
ssize_t ssh_machine::state::agent_result(ssize_t n) noexcept {
  if (n >= 0) return n;
  int const code = errno;
  if (code != EAGAIN && code != EWOULDBLOCK) return -code;
  agent_silent = true;
  return -ETIMEDOUT;
}

}  // namespace diskdump
