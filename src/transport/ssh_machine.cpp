#include "transport/ssh_machine.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "transport/ssh_machine_state.hpp"

namespace diskdump {

namespace {

// What one call hands to libssh2's read: the window is refilled by reads of this size.
constexpr std::size_t read_bytes = 128 * limits::KiB;
// The largest packet that every libssh2 takes (it refuses more than 40,000 bytes of payload).
constexpr unsigned packet_bytes = 32 * limits::KiB;

void initialise_once() {
  static std::once_flag once;
  std::call_once(once, [] { static_cast<void>(::libssh2_init(0)); });
}

bool is_negotiation(int code) noexcept {
  return code == LIBSSH2_ERROR_KEX_FAILURE || code == LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE ||
         code == LIBSSH2_ERROR_HOSTKEY_INIT || code == LIBSSH2_ERROR_METHOD_NONE;
}

bool ends_session(int code) noexcept {
  switch (code) {
    case LIBSSH2_ERROR_SOCKET_SEND:
    case LIBSSH2_ERROR_SOCKET_DISCONNECT:
    case LIBSSH2_ERROR_SOCKET_RECV:
    case LIBSSH2_ERROR_SOCKET_TIMEOUT:
    case LIBSSH2_ERROR_BAD_SOCKET:
    case LIBSSH2_ERROR_BANNER_RECV:
    case LIBSSH2_ERROR_PROTO:
    case LIBSSH2_ERROR_INVALID_MAC:
    case LIBSSH2_ERROR_DECRYPT:
    case LIBSSH2_ERROR_ENCRYPT:
    case LIBSSH2_ERROR_OUT_OF_BOUNDARY:
    case LIBSSH2_ERROR_HOSTKEY_SIGN:
    case LIBSSH2_ERROR_ALLOC:
    case LIBSSH2_ERROR_ZLIB:
    case LIBSSH2_ERROR_COMPRESS:
    case LIBSSH2_ERROR_RANDGEN:
      return true;
    default:
      return is_negotiation(code);
  }
}

// How often one call may ask for input that cannot come any more.
constexpr unsigned asked_after_end_max = 100;

// Strong ciphers and MACs only, the fastest of libssh2 first.
constexpr std::string_view ciphers[] = {
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
};
constexpr std::string_view macs[] = {
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
};

// The signature methods that go with a key type of known_hosts.
std::vector<std::string> methods_of(std::string const& type) {
  if (type != "ssh-rsa") return {type};
  // SHA-1 signatures of host keys are refused by us as by OpenSSH 8.8.
  return {"rsa-sha2-512", "rsa-sha2-256"};
}

bool contains(std::vector<std::string> const& all, std::string_view one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

std::vector<std::string> supported_methods(LIBSSH2_SESSION* session, int which) {
  std::vector<std::string> found;
  char const** names = nullptr;
  int const count = ::libssh2_session_supported_algs(session, which, &names);
  for (int i = 0; i < count; ++i) found.emplace_back(names[i]);
  if (names != nullptr) ::libssh2_free(session, names);
  return found;
}

std::vector<std::string> supported_host_key_methods() {
  initialise_once();
  auto* const session = ::libssh2_session_init_ex(nullptr, nullptr, nullptr, nullptr);
  if (session == nullptr) throw std::bad_alloc();
  auto found = supported_methods(session, LIBSSH2_METHOD_HOSTKEY);
  ::libssh2_session_free(session);
  return found;
}

// libssh2 is told only of what this build of it has: 1.10 leaves out other names by itself, with a
// memcpy onto an overlapping range.
void prefer(LIBSSH2_SESSION* session, int which, std::span<std::string_view const> wanted) {
  auto const supported = supported_methods(session, which);
  std::string list;
  for (auto const name : wanted) {
    if (contains(supported, name)) list.append(list.empty() ? "" : ",").append(name);
  }
  ::libssh2_session_method_pref(session, which, list.c_str());
}

}  // namespace

bool ssh_failure::negotiation() const noexcept { return is_negotiation(code_); }

bool ssh_failure::key_file() const noexcept {
  return code_ == LIBSSH2_ERROR_FILE || code_ == LIBSSH2_ERROR_KEYFILE_AUTH_FAILED;
}

// ---- Bytes --------------------------------------------------------------------------------------

ssize_t ssh_machine::state::on_send(libssh2_socket_t fd, void const* bytes, size_t size, int,
                                    void** abstract) {
  auto& self = *static_cast<state*>(*abstract);
  if (fd != self.placeholder_fd) {
    // Talk with the ssh-agent comes this way too, with libssh2's socket for it.
    if (self.agent_silent) return -ETIMEDOUT;
    return self.agent_result(::send(self.agent_socket.get(), bytes, size, MSG_NOSIGNAL));
  }
  if (!self.going) append_bytes(self.output, {static_cast<std::byte const*>(bytes), size});
  return static_cast<ssize_t>(size);
}

ssize_t ssh_machine::state::on_receive(libssh2_socket_t fd, void* to, size_t size, int,
                                       void** abstract) {
  auto& self = *static_cast<state*>(*abstract);
  if (fd != self.placeholder_fd) {
    return self.agent_result(::recv(self.agent_socket.get(), to, size, MSG_WAITALL));
  }
  if (self.going || self.overfull) return -EPIPE;
  // Read before the ring, so that bytes which came before the end are not passed over.
  bool const ended = self.input_ended.load(std::memory_order_acquire);
  // libssh2 reads until there is nothing, and where more comes than it decrypts there always is
  // something. The caller is called again and goes on from here.
  if (self.served_bytes >= limits::ssh_call_bytes_max) return -EAGAIN;
  auto const n = self.input.read({static_cast<std::byte*>(to), size});
  self.served_bytes += n;
  if (n > 0) return static_cast<ssize_t>(n);
  self.starved = true;
  // Told of the end at once, libssh2 would throw away what it holds for the channels. The caller
  // knows of the end and stops asking; only a loop inside libssh2 must be told.
  if (ended && ++self.asked_after_end > asked_after_end_max) return 0;
  return -EAGAIN;
}

ssh_machine::state::state() {
  initialise_once();
  placeholder_fd = ::open("/dev/null", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  session = ::libssh2_session_init_ex(&on_allocate, &on_free, &on_reallocate, this);
  if (session == nullptr) throw std::bad_alloc();
#if LIBSSH2_VERSION_NUM >= 0x010b01
  ::libssh2_session_callback_set2(session, LIBSSH2_CALLBACK_SEND,
                                  reinterpret_cast<libssh2_cb_generic*>(&on_send));
  ::libssh2_session_callback_set2(session, LIBSSH2_CALLBACK_RECV,
                                  reinterpret_cast<libssh2_cb_generic*>(&on_receive));
#else
  ::libssh2_session_callback_set(session, LIBSSH2_CALLBACK_SEND, reinterpret_cast<void*>(&on_send));
  ::libssh2_session_callback_set(session, LIBSSH2_CALLBACK_RECV,
                                 reinterpret_cast<void*>(&on_receive));
#endif
  ::libssh2_session_set_blocking(session, 0);
  for (int const which : {LIBSSH2_METHOD_CRYPT_CS, LIBSSH2_METHOD_CRYPT_SC}) {
    prefer(session, which, ciphers);
  }
  for (int const which : {LIBSSH2_METHOD_MAC_CS, LIBSSH2_METHOD_MAC_SC}) {
    prefer(session, which, macs);
  }
}

ssh_machine::state::~state() {
  going = true;
  if (agent != nullptr) {
    ::libssh2_agent_disconnect(agent);
    ::libssh2_agent_free(agent);
  }
  // With RECV failing, no channel waits for the other end; a few rounds at most are needed.
  for (int round = 0; round < 100; ++round) {
    if (::libssh2_session_free(session) != LIBSSH2_ERROR_EAGAIN) break;
  }
  if (placeholder_fd >= 0) ::close(placeholder_fd);
}

void ssh_machine::state::fail(int code) {
  if (overfull) {
    throw ssh_failure(
        LIBSSH2_ERROR_ALLOC,
        format("the server sent what it may not: libssh2 would hold more than {} bytes",
               held_bytes_max()),
        true);
  }
  char* text = nullptr;
  int size = 0;
  ::libssh2_session_last_error(session, &text, &size, 0);
  auto said = text != nullptr && size > 0 ? std::string(text, static_cast<std::size_t>(size))
                                          : format("libssh2 error {}", code);
  throw ssh_failure(code, std::move(said), ends_session(code));
}

bool ssh_machine::state::again(long code) {
  if (code == LIBSSH2_ERROR_EAGAIN) return true;
  if (code < 0) fail(static_cast<int>(code));
  return false;
}

ssh_machine::ssh_machine() : state_(std::make_unique<state>()) {}
ssh_machine::~ssh_machine() = default;

byte_ring& ssh_machine::input() noexcept { return state_->input; }
void ssh_machine::end_input() noexcept {
  state_->input_ended.store(true, std::memory_order_release);
}
byte_vector ssh_machine::take_output() noexcept { return std::exchange(state_->output, {}); }
bool ssh_machine::starved() const noexcept { return state_->starved; }

// ---- Handshake ----------------------------------------------------------------------------------

std::vector<std::string> ssh_machine::host_key_types() {
  auto const methods = supported_host_key_methods();
  std::vector<std::string> types;
  for (auto const* type : {"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
                           "ecdsa-sha2-nistp521", "ssh-rsa"}) {
    for (auto const& method : methods_of(type)) {
      if (contains(methods, method) && !contains(types, type)) types.emplace_back(type);
    }
  }
  return types;
}

bool ssh_machine::signs_rsa_with_sha2() { return ::libssh2_version(0x010b00) != nullptr; }

void ssh_machine::prefer_host_keys(std::vector<std::string> const& types) {
  auto wanted = types;
  for (auto& type : host_key_types()) {
    if (!contains(wanted, type)) wanted.push_back(std::move(type));
  }
  std::vector<std::string> methods;
  for (auto const& type : wanted) {
    for (auto& method : methods_of(type)) methods.push_back(std::move(method));
  }
  prefer(state_->session, LIBSSH2_METHOD_HOSTKEY,
         std::vector<std::string_view>(methods.begin(), methods.end()));
}

std::optional<done> ssh_machine::handshake() {
  state_->begin();
  if (state_->again(::libssh2_session_handshake(state_->session, state_->placeholder_fd))) {
    return std::nullopt;
  }
  return done{};
}

public_key ssh_machine::host_key() const {
  std::size_t size = 0;
  int ignored = 0;
  auto const* const blob = ::libssh2_session_hostkey(state_->session, &size, &ignored);
  if (blob == nullptr) return {};
  return key_of({reinterpret_cast<std::byte const*>(blob), size});
}

std::string ssh_machine::algorithms() const {
  std::string all;
  for (int const which : {LIBSSH2_METHOD_KEX, LIBSSH2_METHOD_HOSTKEY, LIBSSH2_METHOD_CRYPT_SC,
                          LIBSSH2_METHOD_MAC_SC}) {
    auto const* const name = ::libssh2_session_methods(state_->session, which);
    if (name != nullptr) all += (all.empty() ? "" : ", ") + std::string(name);
  }
  return all;
}

// ---- Channels -----------------------------------------------------------------------------------

void ssh_machine::state::drain_errors(ssh_channel& channel) {
  std::array<std::byte, 4096> chunk;
  for (;;) {
    auto const n = ::libssh2_channel_read_ex(channel.raw(), SSH_EXTENDED_DATA_STDERR,
                                             reinterpret_cast<char*>(chunk.data()), chunk.size());
    if (n <= 0) return;  // a failure comes again from the call that follows
    channel.append_errors(byte_view(chunk).first(static_cast<std::size_t>(n)));
  }
}

void ssh_machine::state::sweep() {
  for (auto at = channels.begin(); at != channels.end();) {
    auto& channel = **at;
    if (channel.abandoned && ::libssh2_channel_free(channel.raw()) != LIBSSH2_ERROR_EAGAIN) {
      at = channels.erase(at);
    } else {
      ++at;
    }
  }
}

void ssh_machine::pump() {
  state_->begin();
  state_->sweep();
  for (auto const& channel : state_->channels) {
    if (channel->abandoned) continue;
    std::array<std::byte, 4096> chunk;
    auto const n = ::libssh2_channel_read_ex(channel->raw(), SSH_EXTENDED_DATA_STDERR,
                                             reinterpret_cast<char*>(chunk.data()), chunk.size());
    if (n < 0) {
      static_cast<void>(state_->again(n));
    } else {
      channel->append_errors(byte_view(chunk).first(static_cast<std::size_t>(n)));
      state_->drain_errors(*channel);
    }
  }
}

void ssh_machine::ask_for_life() {
  state_->begin();
  // libssh2 sends only where its own interval has passed since; ours is never below that.
  int seconds_to_next = 0;
  ::libssh2_keepalive_config(state_->session, 1, 1);
  static_cast<void>(state_->again(::libssh2_keepalive_send(state_->session, &seconds_to_next)));
}

std::optional<ssh_channel*> ssh_machine::open(std::size_t window_bytes) {
  auto& self = *state_;
  self.begin();
  self.sweep();
  auto const open_one = [&](std::size_t bytes) -> LIBSSH2_CHANNEL* {
    auto* const raw =
        ::libssh2_channel_open_ex(self.session, "session", sizeof("session") - 1,
                                  static_cast<unsigned>(bytes), packet_bytes, nullptr, 0);
    if (raw == nullptr) {
      int const code = ::libssh2_session_last_errno(self.session);
      if (code != LIBSSH2_ERROR_EAGAIN) self.fail(code);
    }
    return raw;
  };
  if (self.open_forgotten) {
    // libssh2 goes on with the open that is under way, whatever it is asked for.
    LIBSSH2_CHANNEL* raw = nullptr;
    try {
      raw = open_one(self.open_window_bytes);
      if (raw == nullptr) return std::nullopt;
    } catch (ssh_failure const& failed) {
      if (failed.connection()) throw;
    }
    self.open_forgotten = false;
    if (raw != nullptr) {
      self.channels.push_back(std::make_unique<ssh_channel>(raw, self.open_window_bytes));
      self.channels.back()->abandoned = true;
    }
  }
  // libssh2 lets the window grow by the size of a read.
  auto const initial = std::max(window_bytes, 2 * read_bytes) - read_bytes;
  self.open_window_bytes = initial;
  auto* const raw = open_one(initial);
  if (raw == nullptr) return std::nullopt;
  self.channels.push_back(std::make_unique<ssh_channel>(raw, window_bytes));
  return self.channels.back().get();
}

void ssh_machine::forget_open() noexcept { state_->open_forgotten = true; }

std::optional<done> ssh_machine::start(ssh_channel& channel, std::string_view request,
                                       std::string const& argument) {
  state_->begin();
  if (state_->again(::libssh2_channel_process_startup(
          channel.raw(), request.data(), static_cast<unsigned>(request.size()), argument.data(),
          static_cast<unsigned>(argument.size())))) {
    return std::nullopt;
  }
  return done{};
}

std::optional<std::size_t> ssh_machine::read(ssh_channel& channel, byte_span to) {
  state_->begin();
  state_->sweep();
  std::size_t total = 0;
  bool ended = false;
  while (total < to.size()) {
    auto const room = to.subspan(total, std::min(to.size() - total, read_bytes));
    auto const n = ::libssh2_channel_read_ex(channel.raw(), 0, reinterpret_cast<char*>(room.data()),
                                             room.size());
    if (n == LIBSSH2_ERROR_EAGAIN) break;
    if (n < 0) {
      if (total > 0) break;  // what came before the failure is delivered first
      state_->fail(static_cast<int>(n));
    }
    if (n == 0) {
      ended = true;
      break;
    }
    total += static_cast<std::size_t>(n);
  }
  // What is left on stderr would fill the window that both share.
  state_->drain_errors(channel);
  state_->check_held();  // what was read may have a hole
  if (total > 0) return total;
  if (ended) return 0;
  return std::nullopt;
}

std::optional<std::size_t> ssh_machine::write(ssh_channel& channel, byte_view bytes) {
  state_->begin();
  state_->sweep();
  // Data that comes meanwhile waits in its window; only stderr has nobody else to take it.
  state_->drain_errors(channel);
  std::size_t total = 0;
  while (total < bytes.size()) {
    auto const rest = bytes.subspan(total);
    auto const n = ::libssh2_channel_write_ex(
        channel.raw(), 0, reinterpret_cast<char const*>(rest.data()), rest.size());
    if (n == LIBSSH2_ERROR_EAGAIN || n == 0) break;
    if (n < 0) {
      if (total > 0) break;
      state_->fail(static_cast<int>(n));
    }
    total += static_cast<std::size_t>(n);
  }
  if (total == 0) return std::nullopt;
  return total;
}

std::optional<done> ssh_machine::write_eof(ssh_channel& channel) {
  state_->begin();
  if (state_->again(::libssh2_channel_send_eof(channel.raw()))) return std::nullopt;
  return done{};
}

std::optional<ssh_machine::channel_end> ssh_machine::finish(ssh_channel& channel) {
  auto& self = *state_;
  self.begin();
  std::array<std::byte, 16384> discarded;
  for (;;) {
    auto const n = ::libssh2_channel_read_ex(
        channel.raw(), 0, reinterpret_cast<char*>(discarded.data()), discarded.size());
    if (n == 0) break;
    if (self.again(n)) {
      self.drain_errors(channel);
      return std::nullopt;
    }
  }
  self.drain_errors(channel);
  if (::libssh2_channel_eof(channel.raw()) != 1) return std::nullopt;
  // The status comes between the end of the data and the close.
  if (self.again(::libssh2_channel_wait_closed(channel.raw()))) return std::nullopt;
  channel_end end;
  char* name = nullptr;
  std::size_t size = 0;
  ::libssh2_channel_get_exit_signal(channel.raw(), &name, &size, nullptr, nullptr, nullptr,
                                    nullptr);
  if (name != nullptr) {
    end.signal = std::string(name, size);
    ::libssh2_free(self.session, name);
  } else {
    end.status = ::libssh2_channel_get_exit_status(channel.raw());
  }
  return end;
}

void ssh_machine::abandon(ssh_channel& channel) noexcept {
  channel.abandoned = true;
  state_->reset();
  state_->sweep();
}

std::string ssh_machine::stderr_tail(ssh_channel const& channel) { return channel.errors(); }

void ssh_machine::disconnect() noexcept {
  state_->reset();
  ::libssh2_session_disconnect_ex(state_->session, SSH_DISCONNECT_BY_APPLICATION, "done", "");
}

}  // namespace diskdump
