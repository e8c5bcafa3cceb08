#include "transport/child_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "base/assert.hpp"
#include "base/error.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/unique_fd.hpp"
#include "transport/tail_buffer.hpp"

extern char** environ;

namespace diskdump {

namespace {

struct pipe_ends {
  unique_fd read;
  unique_fd write;
};

// A descriptor above 2: one that is 0, 1 or 2 (where we were started without them) would be
// overwritten while the child's own are put in place.
unique_fd above_stdio(int fd) {
  if (fd > 2) return unique_fd(fd);
  unique_fd const low(fd);
  int const high = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (high < 0) throw errno_error(errno, "fcntl(F_DUPFD_CLOEXEC)");
  return unique_fd(high);
}

pipe_ends make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) throw errno_error(errno, "pipe2");
  pipe_ends ends;
  unique_fd second(fds[1]);
  ends.read = above_stdio(fds[0]);
  ends.write = above_stdio(second.release());
  // Fewer wake-ups per megabyte. Refused beyond pipe-user-pages-soft: then it stays at 64 KiB.
  static_cast<void>(::fcntl(ends.write.get(), F_SETPIPE_SZ, int{limits::pipe_bytes}));
  return ends;
}

std::string signal_name(int number) {
  auto const* const name = ::sigabbrev_np(number);
  return name != nullptr ? std::string(name) : std::to_string(number);
}

child_end end_of(int wait_status) {
  child_end end;
  if (WIFSIGNALED(wait_status)) {
    end.signal = signal_name(WTERMSIG(wait_status));
  } else {
    end.status = WEXITSTATUS(wait_status);
  }
  return end;
}

struct spawn_settings {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t files;
  spawn_settings() {
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_init(&files);
  }
  ~spawn_settings() {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  }
};

pid_t spawn(child_command const& command, int in, int out, int err) {
  spawn_settings with;
  ::posix_spawn_file_actions_adddup2(&with.files, in, 0);
  ::posix_spawn_file_actions_adddup2(&with.files, out, 1);
  ::posix_spawn_file_actions_adddup2(&with.files, err, 2);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&with.attributes, &none);
  ::posix_spawnattr_setsigdefault(&with.attributes, &all);
  int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (command.new_session) flags |= POSIX_SPAWN_SETSID;
  ::posix_spawnattr_setflags(&with.attributes, static_cast<short>(flags));

  std::vector<char*> argv;
  for (auto const& word : command.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  int const failed =
      ::posix_spawnp(&pid, argv[0], &with.files, &with.attributes, argv.data(), environ);
  if (failed != 0) throw errno_error(failed, "start").path(command.argv[0]);
  return pid;
}

int open_pidfd(pid_t pid) noexcept {
#ifdef SYS_pidfd_open
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
#else
  return -1;
#endif
}

}  // namespace

child_process::child_process(asio::any_io_executor const& executor, child_command command)
    : input_(executor), output_(executor), errors_(executor), ended_(executor) {
  DISKDUMP_ASSERT(!command.argv.empty());
  auto in = make_pipe();
  auto out = make_pipe();
  auto err = make_pipe();
  pid_ = spawn(command, in.read.get(), out.write.get(), err.write.get());
  input_.assign(in.write.release());
  output_.assign(out.read.release());
  errors_.assign(err.read.release());
  // The pid cannot be reused before we reap it, so that the pidfd is this child's.
  unique_fd pidfd(open_pidfd(pid_));
  if (pidfd.get() >= 0) ended_.assign(pidfd.release());
}

child_process::~child_process() {
  if (pid_ < 0 || poll()) return;
  kill();
  if (ended_.is_open()) {
    pollfd waited{ended_.native_handle(), POLLIN, 0};
    static_cast<void>(::poll(&waited, 1, static_cast<int>(limits::kill_wait_max.count())));
  } else {
    ::usleep(1000);
  }
  // One that the kernel holds in an uninterruptible read stays a zombie until we end.
  static_cast<void>(poll());
}

std::optional<child_end> child_process::poll() {
  if (end_) return end_;
  int status = 0;
  pid_t const reaped = ::waitpid(pid_, &status, WNOHANG);
  if (reaped == pid_) {
    end_ = end_of(status);
  } else if (reaped < 0 && errno == ECHILD) {
    end_ = child_end{};  // SIGCHLD is ignored by whoever started us: how it ended is not known
  }
  return end_;
}

void child_process::kill() noexcept {
  if (!end_ && pid_ > 0) ::kill(pid_, SIGKILL);
}

task<child_end> child_process::wait() {
  for (;;) {
    if (auto const end = poll()) co_return *end;
    if (ended_.is_open()) {
      co_await ended_.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    } else {
      // No pidfd before Linux 5.3.
      asio::steady_timer pause(co_await asio::this_coro::executor, limits::child_poll_interval);
      co_await pause.async_wait(asio::use_awaitable);
    }
  }
}

namespace {

task<> collect(asio::posix::stream_descriptor& from, std::string& to, std::size_t bytes_max) {
  std::array<char, limits::child_output_bytes> chunk;
  for (;;) {
    asio::error_code failed;
    auto const n = co_await from.async_read_some(asio::buffer(chunk),
                                                 asio::redirect_error(asio::use_awaitable, failed));
    if (failed == asio::error::operation_aborted) throw std::system_error(failed);
    if (failed) co_return;
    to.append(chunk.data(), std::min(n, bytes_max - to.size()));
  }
}

}  // namespace

task<program_result> run_program(std::vector<std::string> argv, std::size_t output_bytes_max) {
  auto const executor = co_await asio::this_coro::executor;
  child_process child(executor, {std::move(argv), true});
  child.input().close();
  program_result result;
  // One after the other: what these programs say on stderr is far below a pipe's 64 KiB.
  co_await collect(child.output(), result.output, output_bytes_max);
  co_await collect(child.errors(), result.stderr_tail, limits::stderr_tail_bytes_max);
  result.end = co_await child.wait();
  co_return result;
}

bool program_exists(std::string const& name) {
  auto const* const path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  for (;;) {
    auto const end = rest.find(':');
    auto const folder = rest.substr(0, end);
    auto const candidate = format("{}/{}", folder.empty() ? "." : folder, name);
    if (::access(candidate.c_str(), X_OK) == 0) return true;
    if (end == std::string_view::npos) return false;
    rest.remove_prefix(end + 1);
  }
}

void ignore_sigpipe() {
  struct sigaction current{};
  if (::sigaction(SIGPIPE, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) {
    ::signal(SIGPIPE, SIG_IGN);
  }
}

}  // namespace diskdump
