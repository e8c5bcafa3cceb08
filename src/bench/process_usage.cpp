#include "bench/process_usage.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <sstream>
#include <string>

#include "base/format.hpp"
#include "io/system_file.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

namespace {

constexpr std::string_view peak_key = "VmHWM:";

std::chrono::nanoseconds time_of(timeval const& t) {
  return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
}

std::chrono::nanoseconds time_of(int who) {
  rusage used{};
  ::getrusage(who, &used);
  return time_of(used.ru_utime) + time_of(used.ru_stime);
}

// "VmHWM:     1234 kB"
std::uint64_t bytes_in(std::string const& status, std::string_view key) {
  auto const at = status.find(key);
  if (at == std::string::npos) return 0;
  auto const digits = status.find_first_of("0123456789", at);
  std::uint64_t kib = 0;
  if (digits != std::string::npos) {
    std::from_chars(status.data() + digits, status.data() + status.size(), kib);
  }
  constexpr std::uint64_t kib_bytes = 1024;
  return kib * kib_bytes;
}

// The first line of /proc/stat: "cpu  user nice system idle iowait irq softirq steal …", in ticks.
std::chrono::nanoseconds machine_time() {
  std::istringstream line(read_system_file("/proc/stat"));
  std::string cpu;
  std::uint64_t user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0;
  line >> cpu >> user >> nice >> system >> idle >> wait >> irq >> soft >> steal;
  auto const ticks_per_second = ::sysconf(_SC_CLK_TCK);
  if (!line || cpu != "cpu" || ticks_per_second <= 0) return {};
  auto const ticks = user + nice + system + irq + soft + steal;
  constexpr std::chrono::nanoseconds second = std::chrono::seconds(1);
  return second / ticks_per_second * ticks;
}

}  // namespace

cpu_usage cpu_used() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return {.process = time_of(RUSAGE_SELF),
          .children = time_of(RUSAGE_CHILDREN),
          .thread = std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec),
          .machine = machine_time()};
}

bool restart_memory_peak() {
  ::malloc_trim(0);
  unique_fd const file(::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC));
  constexpr char reset_peak = '5';  // proc_pid_clear_refs(5)
  return file && ::write(file.get(), &reset_peak, 1) == 1;
}

std::uint64_t memory_peak_bytes() {
  return bytes_in(read_system_file("/proc/self/status"), peak_key);
}

std::uint64_t memory_bytes() { return bytes_in(read_system_file("/proc/self/status"), "VmRSS:"); }

std::uint64_t children_memory_peak_bytes() {
  std::istringstream children(read_system_file("/proc/thread-self/children"));
  std::uint64_t sum = 0;
  for (std::string pid; children >> pid;) {
    sum += bytes_in(read_system_file(format("/proc/{}/status", pid)), peak_key);
  }
  return sum;
}

}  // namespace diskdump
