// What the two halves of ssh_machine share. The only header that includes libssh2.
#pragma once

#include <libssh2.h>

#include <atomic>
#include <chrono>
#include <list>
#include <mutex>

#include "base/limits.hpp"
#include "io/unique_fd.hpp"
#include "transport/ssh_machine.hpp"
#include "transport/tail_buffer.hpp"

namespace diskdump {

class ssh_channel {
 public:
  ssh_channel(LIBSSH2_CHANNEL* raw, std::size_t window_bytes)
      : window_bytes_(window_bytes), raw_(raw) {}
  [[nodiscard]] std::size_t window_bytes() const noexcept { return window_bytes_; }
  [[nodiscard]] LIBSSH2_CHANNEL* raw() const noexcept { return raw_; }
  void append_errors(byte_view bytes) {
    std::lock_guard const lock(mutex_);
    errors_.append(bytes);
  }
  [[nodiscard]] std::string errors() const {
    std::lock_guard const lock(mutex_);
    return errors_.text();
  }
  bool abandoned = false;

 private:
  std::size_t window_bytes_;
  LIBSSH2_CHANNEL* raw_;
  mutable std::mutex mutex_;
  tail_buffer errors_;
};

struct ssh_machine::state {
  state();
  ~state();

  // What libssh2 holds of this session, and whether it asked for more than it may: then something
  // of what came is lost, and the session is of no use any more.
  std::size_t held_bytes = 0;
  bool overfull = false;

  LIBSSH2_SESSION* session = nullptr;
  int placeholder_fd = -1;  // libssh2 wants a descriptor; no byte of ours goes through it
  byte_ring input{limits::ssh_receive_buffer_bytes};
  std::atomic<bool> input_ended = false;
  byte_vector output;
  bool starved = false;
  std::size_t served_bytes = 0;  // of the input, since begin()
  unsigned asked_after_end = 0;
  bool going = false;  // being destroyed: nothing waits any more
  bool open_forgotten = false;
  std::size_t open_window_bytes = 0;
  std::list<std::unique_ptr<ssh_channel>> channels;

  LIBSSH2_AGENT* agent = nullptr;
  unique_fd agent_socket;  // our connection with it; libssh2's own leads nowhere
  std::vector<libssh2_agent_publickey*> agent_entries;
  std::chrono::milliseconds agent_reply_time_max{};
  bool agent_silent = false;              // it did not answer in time and is asked no more
  question_handler const* ask = nullptr;  // while auth_interactive() runs
  bool ask_declined = false;
  bool signature_wanted = false;  // auth_probe(): the server asked for one

  void reset() noexcept {
    starved = false;
    served_bytes = 0;
    asked_after_end = 0;
  }
  void begin() {
    reset();
    check_held();
  }
  void check_held() {
    if (overfull) fail(LIBSSH2_ERROR_ALLOC);
  }
  [[nodiscard]] std::size_t held_bytes_max() const noexcept;
  // libssh2's allocations; plain ones of malloc, so that it does not matter who frees them.
  static void* on_allocate(size_t size, void** abstract);
  static void* on_reallocate(void* old, size_t size, void** abstract);
  static void on_free(void* memory, void** abstract);
  // Whether `code` says "call again"; throws for any other failure, passes success.
  [[nodiscard]] bool again(long code);
  [[noreturn]] void fail(int code);
  void drain_errors(ssh_channel& channel);
  void sweep();
  // What went wrong with the ssh-agent; the session is as good as before.
  [[noreturn]] void fail_agent(int code);
  [[nodiscard]] ssize_t agent_result(ssize_t n) noexcept;
  void connect_agent(std::string const& path, std::chrono::milliseconds time_max);
  void connect_libssh2();

  static ssize_t on_send(libssh2_socket_t, void const* bytes, size_t size, int, void** abstract);
  static ssize_t on_receive(libssh2_socket_t, void* to, size_t size, int, void** abstract);
};

}  // namespace diskdump
