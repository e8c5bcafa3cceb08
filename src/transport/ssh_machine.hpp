// One SSH session as a machine without I/O: encrypted bytes go in and come out, and each call
// either completes or says that it needs more input. It owns the LIBSSH2_SESSION and all of its
// channels.
//
// libssh2 is given SEND and RECV callbacks instead of a socket. SEND takes every packet whole into
// the output, so that no packet is ever half sent: a half-sent packet makes every other one fail,
// also the window adjustments and the answers to a rekey that libssh2 sends by itself. RECV serves
// from the input ring and says EAGAIN when that is empty, or when the call has had
// limits::ssh_call_bytes_max: every call ends, however fast input comes.
//
// Threads: the calls of the last two sections come one at a time, in any one order (a strand). The
// input's writing end and end_input() belong to the thread that owns the socket.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/limits.hpp"
#include "transport/byte_ring.hpp"
#include "transport/public_key.hpp"

namespace diskdump {

// One session channel, owned by its machine. Opaque outside.
class ssh_channel;

// What libssh2 reported. `connection` tells whether the whole session is over with it.
class ssh_failure final : public std::exception {
 public:
  ssh_failure(int code, std::string text, bool connection)
      : code_(code), text_(std::move(text)), connection_(connection) {}
  [[nodiscard]] int code() const noexcept { return code_; }
  [[nodiscard]] bool connection() const noexcept { return connection_; }
  // No algorithm in common, or a key exchange that this libssh2 cannot do.
  [[nodiscard]] bool negotiation() const noexcept;
  // A private key file that does not parse, or not with this passphrase.
  [[nodiscard]] bool key_file() const noexcept;
  [[nodiscard]] char const* what() const noexcept override { return text_.c_str(); }

 private:
  int code_;
  std::string text_;
  bool connection_;
};

// The result of a call that has nothing to give back.
struct done {};

enum class auth_outcome : unsigned char { accepted, refused };

struct agent_key {
  public_key key;
  std::string comment;
};

// How long an ssh-agent may take for what.
struct agent_patience {
  std::chrono::milliseconds connect_max = limits::key_agent_connect_time_max;
  std::chrono::milliseconds reply_max = limits::key_agent_reply_time_max;
};

// Asked for each question of keyboard-interactive; nullopt gives up.
using question_handler = std::function<std::optional<std::string>(std::string_view question)>;

class ssh_machine {
 public:
  ssh_machine();
  ~ssh_machine();
  ssh_machine(ssh_machine const&) = delete;
  ssh_machine& operator=(ssh_machine const&) = delete;

  // ---- The socket's thread
  // -----------------------------------------------------------------------
  [[nodiscard]] byte_ring& input() noexcept;
  // The other end sends nothing more.
  void end_input() noexcept;

  // ---- Any one thread at a time: the session
  // ----------------------------------------------------- Every nullopt below means: call again,
  // with the same arguments, once there is more input. Every call may throw ssh_failure.

  // What is to be sent since the last call. Take it after every call, also after one that threw.
  [[nodiscard]] byte_vector take_output() noexcept;
  // Whether the last call ran out of input: it needs no repeating before more has come.
  [[nodiscard]] bool starved() const noexcept;

  // Key types that this libssh2 can verify, as they stand in known_hosts.
  [[nodiscard]] static std::vector<std::string> host_key_types();
  // Whether RSA keys can sign with SHA-2; OpenSSH 8.8 and later take nothing else from them.
  [[nodiscard]] static bool signs_rsa_with_sha2();

  // Before handshake(): the server is to show a key of one of these types if it has one, in this
  // order, else of any other type.
  void prefer_host_keys(std::vector<std::string> const& types);
  [[nodiscard]] std::optional<done> handshake();
  // After handshake().
  [[nodiscard]] public_key host_key() const;
  [[nodiscard]] std::string algorithms() const;

  // The methods that the server allows: "publickey,password". Empty where none is needed.
  [[nodiscard]] std::optional<std::string> auth_methods(std::string const& user);
  // Whether the server would accept a signature by this key; nothing is signed.
  [[nodiscard]] std::optional<auth_outcome> auth_probe(std::string const& user,
                                                       public_key const& key);
  // Reads the private key; blocks for the key derivation of an encrypted one. What cannot be read,
  // or not with this passphrase, is an ssh_failure whose key_file() is true.
  [[nodiscard]] std::optional<auth_outcome> auth_key_file(std::string const& user,
                                                          std::string const& path,
                                                          std::string const& passphrase);
  [[nodiscard]] std::optional<auth_outcome> auth_password(std::string const& user,
                                                          std::string const& password);
  // `ask` is called from inside and may block.
  [[nodiscard]] std::optional<auth_outcome> auth_interactive(std::string const& user,
                                                             question_handler const& ask);
  // The keys of the ssh-agent at this socket. Blocks while it takes the connection and while it
  // answers, each time for as long as `patience` says at most; what goes wrong with the agent is an
  // ssh_failure that leaves the session.
  [[nodiscard]] std::vector<agent_key> agent_keys(std::string const& socket_path,
                                                  agent_patience const& patience = {});
  // REQUIRES: index into the last answer of agent_keys(). Blocks while the agent signs, as there.
  [[nodiscard]] std::optional<auth_outcome> auth_agent(std::string const& user, std::size_t index);

  // ---- Any one thread at a time: channels
  // -------------------------------------------------------- Takes in what has come for all
  // channels, answers the server's requests and frees abandoned channels: what an otherwise idle
  // session needs now and then.
  void pump();

  // Asks the server for an answer of any kind, which comes in as input like all else.
  void ask_for_life();

  // One open at a time. `window_bytes` bounds what is held unread for it.
  [[nodiscard]] std::optional<ssh_channel*> open(std::size_t window_bytes);
  // The open that was begun is not continued by its caller; the next open() finishes it first.
  void forget_open() noexcept;
  // `request` is "exec" or "subsystem".
  [[nodiscard]] std::optional<done> start(ssh_channel& channel, std::string_view request,
                                          std::string const& argument);
  // 1..to.size() bytes of stdout, or 0 at its end. stderr is drained on the way.
  [[nodiscard]] std::optional<std::size_t> read(ssh_channel& channel, byte_span to);
  // How many bytes were taken, at least one; nullopt while the other end's window is full.
  [[nodiscard]] std::optional<std::size_t> write(ssh_channel& channel, byte_view bytes);
  [[nodiscard]] std::optional<done> write_eof(ssh_channel& channel);

  struct channel_end {
    std::optional<int> status;
    std::optional<std::string> signal;
  };
  // Discards stdout until the program has ended.
  [[nodiscard]] std::optional<channel_end> finish(ssh_channel& channel);
  // The channel's owner is gone: it is closed and freed as soon as the other end lets it.
  void abandon(ssh_channel& channel) noexcept;
  // Any thread.
  [[nodiscard]] static std::string stderr_tail(ssh_channel const& channel);

  // Says goodbye; take_output() has the message.
  void disconnect() noexcept;

  struct state;

 private:
  std::unique_ptr<state> state_;
};

}  // namespace diskdump
