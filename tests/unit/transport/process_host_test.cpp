#include <doctest/doctest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "stream_conformance.hpp"
#include "transport/child_process.hpp"

namespace diskdump::test {

namespace {

task<> child_dies_of_signal(remote_host& host) {
  auto const outcome = co_await run_command(host, "kill -TERM $$");
  CHECK(!outcome.report.status);
  CHECK(outcome.report.signal == "TERM");
}

task<pid_t> drop_a_child_that_ignores_eof(remote_host& host) {
  auto io = co_await host.exec("trap \"\" TERM HUP; echo $$; exec sleep 1000",
                               limits::channel_window_bytes_max);
  byte_vector line(32);
  auto const n = co_await io->read(line);
  co_return static_cast<pid_t>(std::stol(std::string(as_text(byte_view(line).first(n)))));
}

task<bool> end_of_input_beside_another(remote_host& host) {
  auto first = co_await host.exec("cat; echo end", limits::channel_window_bytes_max);
  auto second = co_await host.exec("cat", limits::channel_window_bytes_max);
  co_await first->write_eof();
  co_return as_text(co_await read_all(*first)) == "end\n";
}

task<> write_to_one_that_ended(remote_host& host) {
  auto io =
      co_await host.exec("exec <&-; echo closed; sleep 1000", limits::channel_window_bytes_max);
  CHECK(as_text(co_await read_exactly(*io, 7)) == "closed\n");
  co_await io->write(as_bytes("nobody reads this"));
}

}  // namespace

TEST_SUITE("process_host") {
  TEST_CASE("a child of this process is a stream like any other") {
    test_context test;
    auto const host = open_local_host(test.context());
    check_stream_conformance(test, *host, {});
    test.run(host->close());
  }

  TEST_CASE("a child that died of a signal is reported with its name") {
    test_context test;
    auto const host = open_local_host(test.context());
    test.run(child_dies_of_signal(*host));
  }

  TEST_CASE("a dropped stream takes its child along, even one that ignores the end of input") {
    test_context test;
    auto const host = open_local_host(test.context());
    auto const pid = test.run(drop_a_child_that_ignores_eof(*host));
    CHECK(::kill(pid, 0) == -1);  // killed and reaped
  }

  TEST_CASE("writing to a program that closed its input is an error and no signal") {
    test_context test;
    auto const host = open_local_host(test.context());
    auto const failure = test.failure_of(write_to_one_that_ended(*host));
    CHECK(failure.code() == transport_errc::connection_lost);
    CHECK(failure.kind() == severity::transient);
    CHECK(failure.host() == "localhost");
  }

  TEST_CASE("a child starts with signals unblocked and at their default") {
    test_context test;
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, nullptr);
    ::signal(SIGHUP, SIG_IGN);
    auto const host = open_local_host(test.context());
    auto const blocked = test.run(run_command(*host, "kill -TERM $$; echo survived"));
    auto const ignored = test.run(run_command(*host, "kill -HUP $$; echo survived"));
    sigprocmask(SIG_UNBLOCK, &term, nullptr);
    ::signal(SIGHUP, SIG_DFL);
    CHECK(blocked.report.signal == "TERM");
    CHECK(ignored.report.signal == "HUP");
  }

  TEST_CASE("a child does not keep the pipes of another one open") {
    test_context test;
    auto const host = open_local_host(test.context());
    CHECK(test.run(end_of_input_beside_another(*host)));
  }

  TEST_CASE("a child is in a session of its own, out of reach of Ctrl-C") {
    test_context test;
    auto const host = open_local_host(test.context());
    auto const session = test.run(run_command(*host, "ps -o sid= -p $$; echo $$"));
    auto const half = session.output.find('\n');
    CHECK(std::stol(session.output.substr(0, half)) == std::stol(session.output.substr(half)));
  }

  TEST_CASE("a file is written once, for the user alone") {
    test_context test;
    auto const host = open_local_host(test.context());
    auto const folder = std::filesystem::temp_directory_path() / format("dd-put-{}", ::getpid());
    std::filesystem::create_directory(folder);
    auto const path = (folder / "file").string();
    auto const content = noise_bytes(3'000'000, 9);
    CHECK(test.run(host->put_file(path, content)));
    struct stat about{};
    REQUIRE(::stat(path.c_str(), &about) == 0);
    CHECK((about.st_mode & 07777) == 0600);
    CHECK(about.st_size == 3'000'000);
    auto const again = test.failure_of(host->put_file(path, content));
    CHECK(again.code() == transport_errc::transfer_failed);
    CHECK(again.path() == path);
    CHECK(again.cause() == "File exists");
    std::filesystem::remove_all(folder);
  }

  TEST_CASE("a program that does not exist is an error that names it") {
    test_context test;
    auto const failure = test.failure_of(run_program({"no-such-program-here"}, 100));
    CHECK(failure.code() == std::errc::no_such_file_or_directory);
    CHECK(failure.path() == "no-such-program-here");
    CHECK(!program_exists("no-such-program-here"));
    CHECK(program_exists("sh"));
  }
}

}  // namespace diskdump::test
