#include "cli/monitored.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <stdexcept>
#include <thread>

namespace diskdump {

namespace {
global_options const silent{.base = ".", .json = false, .quiet = true, .verbose = false};
}  // namespace

TEST_SUITE("monitored") {
  TEST_CASE("a line tells phase, share, rate and what is left") {
    work_state state{"reading manifests", 9, 20, 0, 0, std::chrono::milliseconds(500)};
    CHECK(work_line("gc", state) == "gc: reading manifests  45%  9 of 20  18/s  ETA 1 s");
    state.bytes_total = 4 << 20;
    state.bytes_done = 1 << 20;
    CHECK(work_line("verify", state) ==
          "verify: reading manifests  25%  1.0 MiB of 4.0 MiB  2.1 MB/s  ETA 2 s");
    CHECK(work_line("gc", {}) == "gc: starting");
  }

  TEST_CASE("nothing is foretold where nothing is done, or all") {
    CHECK_FALSE(work_state{"x", 0, 20, 0, 0, std::chrono::seconds(1)}.left());
    CHECK_FALSE(work_state{"x", 20, 20, 0, 0, std::chrono::seconds(1)}.left());
    CHECK_FALSE(work_state{"x", 5, 0, 0, 0, std::chrono::seconds(1)}.left());
  }

  TEST_CASE("the work is run to its end, and what it throws comes out") {
    runtime process(silent);
    bool ran = false;
    run_monitored(process, silent, "test", [&](work_monitor& monitor) {
      ran = true;
      CHECK_FALSE(monitor.stop);
    });
    CHECK(ran);
    ran = false;
    run_monitored(process, silent, "again", [&](work_monitor&) { ran = true; });
    CHECK(ran);
    CHECK_FALSE(process.interrupted());
    runtime other(silent);
    CHECK_THROWS_WITH(
        run_monitored(other, silent, "test",
                      [](work_monitor&) { throw std::runtime_error("as it should"); }),
        "as it should");
  }

  TEST_CASE("a signal tells the work to stop, and it is waited for") {
    runtime process(silent);
    bool stopped = false;
    run_monitored(process, silent, "test", [&](work_monitor& monitor) {
      ::raise(SIGINT);
      while (!monitor.stop) std::this_thread::yield();
      stopped = true;
    });
    CHECK(stopped);
    CHECK(process.interrupted());
  }
}

}  // namespace diskdump
