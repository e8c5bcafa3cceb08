// Throughput of the transports over one server: bench_ssh HOST SSH_CONFIG [MIB] [ROUNDS]
//
// Each round moves MIB from the host (`head -c … /dev/zero`) and to it (`cat >/dev/null`), by
// libssh2 and by openssh in turn, so that all see the same machine. Prints a line per transfer and
// the medians. CPU is that of this process, and for openssh that of its `ssh` as well; the server's
// is not in it. bench/ssh.py runs it over an sshd of its own.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <stdexcept>
#include <vector>

#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "transport/connect.hpp"
#include "transport/passphrase_book.hpp"
#include "transport/stream.hpp"

namespace diskdump {

namespace {

using steady = std::chrono::steady_clock;

struct silent_prompt final : secret_prompt {
  std::optional<std::string> ask(std::string_view) override { return std::nullopt; }
};
struct silent_log final : log_sink {
  void write(log_level, std::string_view) override {}
};

double cpu_seconds() {
  double sum = 0;
  for (int const who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage used{};
    ::getrusage(who, &used);
    for (auto const& part : {used.ru_utime, used.ru_stime}) {
      sum += static_cast<double>(part.tv_sec) + static_cast<double>(part.tv_usec) / 1e6;
    }
  }
  return sum;
}

task<> download(remote_host& host, std::uint64_t bytes) {
  auto io =
      co_await host.exec(format("head -c {} /dev/zero", bytes), limits::channel_window_bytes_max);
  byte_vector chunk(limits::stream_read_bytes);
  std::uint64_t got = 0;
  while (auto const n = co_await io->read(chunk)) got += n;
  if (got != bytes) throw std::runtime_error("not all of it came");
  co_await io->close();
}

task<> upload(remote_host& host, std::uint64_t bytes) {
  auto io = co_await host.exec("cat >/dev/null", limits::channel_window_bytes_max);
  byte_vector const chunk(limits::stream_read_bytes);
  for (std::uint64_t sent = 0; sent < bytes; sent += chunk.size()) co_await io->write(chunk);
  co_await io->write_eof();
  byte_vector rest(1);
  while (co_await io->read(rest) > 0) {
  }
  co_await io->close();
}

struct figure {
  double megabytes_per_s = 0;
  double cpu_s_per_gb = 0;
};

struct measurement {
  std::string host;
  ssh_options options;
  std::uint64_t bytes = 0;
  bool up = false;
  double seconds = 0;
};

task<> measure(connect_context context, measurement& of) {
  auto const host = co_await connect_ssh(context, of.host, of.options);
  auto const begin = steady::now();
  if (of.up) {
    co_await upload(*host, of.bytes);
  } else {
    co_await download(*host, of.bytes);
  }
  of.seconds = std::chrono::duration<double>(steady::now() - begin).count();
  co_await host->close();
}

// The processor time of a child counts once it is reaped, so the host is gone by the end.
figure run_once(measurement of) {
  silent_log log;
  silent_prompt prompt;
  passphrase_book passphrases;
  asio_timer_source timers;
  std::exception_ptr failure;
  auto const cpu_before = cpu_seconds();
  {
    asio::io_context loop(1);
    worker_pool workers(2);
    worker_pool blocking(2);
    connect_context const context{loop.get_executor(), workers, blocking, timers, log, prompt,
                                  passphrases};
    scope all(loop.get_executor());
    all.spawn([](connect_context with, measurement& what, std::exception_ptr& failed) -> task<> {
      try {
        co_await measure(with, what);
      } catch (...) {
        failed = std::current_exception();
      }
    }(context, of, failure));
    loop.run();
  }
  if (failure) std::rethrow_exception(failure);
  auto const megabytes = static_cast<double>(of.bytes) / 1e6;
  return {megabytes / of.seconds, (cpu_seconds() - cpu_before) / (megabytes / 1e3)};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int run(int argc, char** argv) {
  measurement of;
  of.host = argv[1];
  of.options.config_file = argv[2];
  of.bytes = (argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1024) * limits::MiB;
  int const rounds = argc > 4 ? std::atoi(argv[4]) : 5;
  std::map<std::string, std::vector<figure>> figures;
  for (int round = 0; round < rounds; ++round) {
    for (bool const up : {false, true}) {
      for (auto const transport : {transport_choice::libssh2, transport_choice::openssh}) {
        of.up = up;
        of.options.transport = transport;
        auto const got = run_once(of);
        auto const name =
            format("{:8} {}", transport == transport_choice::libssh2 ? "libssh2" : "openssh",
                   up ? "to the host" : "from the host");
        figures[name].push_back(got);
        std::printf("%s: %.0f MB/s, %.2f CPU s per GB\n", name.c_str(), got.megabytes_per_s,
                    got.cpu_s_per_gb);
        std::fflush(stdout);
      }
    }
  }
  std::printf("medians of %d\n", rounds);
  for (auto const& [name, all] : figures) {
    std::vector<double> rates, costs;
    for (auto const& one : all) {
      rates.push_back(one.megabytes_per_s);
      costs.push_back(one.cpu_s_per_gb);
    }
    std::printf("%s: %.0f MB/s, %.2f CPU s per GB\n", name.c_str(), median(rates), median(costs));
  }
  return 0;
}

}  // namespace

}  // namespace diskdump

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: bench_ssh HOST SSH_CONFIG [MIB] [ROUNDS]\n", stderr);
    return 2;
  }
  try {
    return diskdump::run(argc, argv);
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_ssh: %s\n", e.what());
    return 1;
  }
}
