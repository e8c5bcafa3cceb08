#include "agent/process.hpp"

#include <fcntl.h>
#include <linux/ioprio.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/error.hpp"
#include "base/limits.hpp"

namespace diskdump {

namespace {

int private_copy(int fd) {
  int const copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) throw errno_error(errno, "duplicate stdin and stdout");
  // Not a pipe, or more than this user may have: then it stays as it is.
  static_cast<void>(::fcntl(copy, F_SETPIPE_SZ, limits::pipe_bytes));
  return copy;
}

void set_signal(int number, void (*action)(int)) {
  struct sigaction wanted{};
  wanted.sa_handler = action;
  ::sigaction(number, &wanted, nullptr);
}

}  // namespace

serve_descriptors take_over_process() {
#ifdef M_ARENA_MAX
  // glibc would give each thread a heap of its own that keeps what was freed. Workers allocate when
  // they first compress and hardly ever again, so that they do not meet at the one lock.
  ::mallopt(M_ARENA_MAX, 1);
#endif
  set_signal(SIGPIPE, SIG_IGN);
  for (int const number : {SIGHUP, SIGTERM, SIGALRM}) set_signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  rlimit const no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  serve_descriptors const mine{private_copy(0), private_copy(1)};
  if (::dup2(2, 1) < 0) throw errno_error(errno, "point stdout to stderr");
  return mine;
}

void lower_priority() noexcept {
  static_cast<void>(::setpriority(PRIO_PROCESS, 0, 19));
  static_cast<void>(
      ::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)));
}

unsigned available_cores() noexcept {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    return static_cast<unsigned>(std::max(1, CPU_COUNT(&allowed)));
  }
  return std::max(1u, std::thread::hardware_concurrency());
}

void die_after(std::chrono::seconds delay) noexcept {
  ::alarm(static_cast<unsigned>(delay.count()));
}

}  // namespace diskdump
