#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <mutex>

#include "base/limits.hpp"
#include "io/unique_fd.hpp"
#include "transport/connect.hpp"

namespace diskdump {

namespace {

// Echo off while it lives. One at a time is in force: whoever makes one holds `asking`.
class silence {
 public:
  explicit silence(int fd) : fd_(fd) {
    std::lock_guard const lock(mutex);
    if (::tcgetattr(fd, &before_) != 0) return;
    auto quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHOE | ECHOK | ECHONL);
    if (::tcsetattr(fd, TCSAFLUSH, &quiet) == 0) in_force = this;
  }
  ~silence() { end(this); }
  silence(silence const&) = delete;
  silence& operator=(silence const&) = delete;

  // Of the one in force, or of this one if it is that.
  static void end(silence const* only = nullptr) noexcept {
    std::lock_guard const lock(mutex);
    if (in_force == nullptr || (only != nullptr && only != in_force)) return;
    ::tcsetattr(in_force->fd_, TCSAFLUSH, &in_force->before_);
    in_force = nullptr;
  }

 private:
  static std::mutex mutex;
  static silence const* in_force;

  int fd_;
  termios before_{};
};

// Held from a question to its answer: several hosts ask at the same time, and two that read the
// terminal together would share out the letters. Not the mutex of the echo, which a process that
// ends takes while a person is still being waited for.
std::mutex asking;

std::mutex silence::mutex;
silence const* silence::in_force = nullptr;

void say(int fd, std::string_view text) {
  static_cast<void>(!::write(fd, text.data(), text.size()));
}

}  // namespace

void terminal_prompt::restore_echo() noexcept { silence::end(); }

std::optional<std::string> terminal_prompt::ask(std::string_view question,
                                                std::atomic<bool> const& wanted) {
  std::lock_guard const turn(asking);
  if (!wanted) return std::nullopt;
  unique_fd const terminal(::open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal) return std::nullopt;
  silence const quiet(terminal.get());
  say(terminal.get(), question);
  std::string answer;
  for (;;) {
    char c = 0;
    if (::read(terminal.get(), &c, 1) != 1) return std::nullopt;  // closed, or interrupted
    if (c == '\n' || c == '\r') break;
    if (answer.size() >= limits::secret_bytes_max) return std::nullopt;
    answer += c;
  }
  say(terminal.get(), "\n");
  return answer;
}

}  // namespace diskdump
