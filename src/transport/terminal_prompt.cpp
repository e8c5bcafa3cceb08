#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include "base/limits.hpp"
#include "io/unique_fd.hpp"
#include "transport/connect.hpp"

namespace diskdump {

namespace {

// Echo off while it lives.
class silence {
 public:
  explicit silence(int fd) : fd_(fd), changed_(::tcgetattr(fd, &before_) == 0) {
    if (!changed_) return;
    auto quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHOE | ECHOK | ECHONL);
    changed_ = ::tcsetattr(fd, TCSAFLUSH, &quiet) == 0;
  }
  ~silence() {
    if (changed_) ::tcsetattr(fd_, TCSAFLUSH, &before_);
  }
  silence(silence const&) = delete;
  silence& operator=(silence const&) = delete;

 private:
  int fd_;
  termios before_{};
  bool changed_;
};

void say(int fd, std::string_view text) {
  static_cast<void>(!::write(fd, text.data(), text.size()));
}

}  // namespace

std::optional<std::string> terminal_prompt::ask(std::string_view question) {
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
