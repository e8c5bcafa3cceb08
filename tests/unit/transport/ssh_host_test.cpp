// The whole way through a real sshd, by libssh2 and by OpenSSH's own client.
#include <doctest/doctest.h>
#include <unistd.h>

#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "codec/digest.hpp"
#include "sshd_fixture.hpp"
#include "stream_conformance.hpp"

namespace diskdump::test {

namespace {

constexpr std::size_t own_window = limits::channel_window_bytes_max;

std::unique_ptr<remote_host> connect(test_context& test, sshd_fixture& sshd,
                                     transport_choice transport = transport_choice::libssh2) {
  return test.run(connect_ssh(test.context(), sshd_fixture::host, sshd.options(transport)));
}

task<> dies_of_signal(remote_host& host) {
  auto const outcome = co_await run_command(host, "kill -TERM $$");
  CHECK(!outcome.report.status);
  CHECK(outcome.report.signal == "TERM");
}

task<> feed_forever(stream& to) {
  byte_vector const bytes(100'000);
  for (;;) co_await to.write(bytes);
}
task<> read_forever(stream& from, std::uint64_t& got, sshd_fixture& sshd) {
  byte_vector chunk(limits::stream_read_bytes);
  for (;;) {
    auto const n = co_await from.read(chunk);
    if (n == 0) throw std::runtime_error("the stream ended as if all were well");
    auto const before = got;
    got += n;
    if (before < 5'000'000 && got >= 5'000'000) sshd.kill_sessions();
  }
}
task<> lose_it(remote_host& host, sshd_fixture& sshd) {
  auto io = co_await host.exec("cat", own_window);
  std::uint64_t got = 0;
  scope both(co_await asio::this_coro::executor);
  both.spawn(feed_forever(*io));
  both.spawn(read_forever(*io, got, sshd));
  co_await both.join();
}

task<> run_without_a_word(remote_host& host) {
  auto const outcome = co_await run_command(host, "sleep 5; echo done");
  CHECK(outcome.output == "done\n");
}

task<> wait_for_the_frozen(remote_host& host, sshd_fixture& sshd) {
  auto io = co_await host.exec("cat", own_window);
  co_await io->write(as_bytes("x"));
  CHECK(as_text(co_await read_exactly(*io, 1)) == "x");
  sshd.freeze_sessions();
  static_cast<void>(co_await read_exactly(*io, 1));
}

task<> idle_during_rekeys(remote_host& host) {
  // Nobody reads `idle` while the other stream makes the server rekey many times over.
  auto idle = co_await host.exec("echo here; cat", own_window);
  auto busy = co_await host.exec("head -c 30000000 /dev/zero", own_window);
  CHECK((co_await read_all(*busy)).size() == 30'000'000);
  CHECK(as_text(co_await read_exactly(*idle, 5)) == "here\n");
  co_await idle->write(as_bytes("x"));
  CHECK(as_text(co_await read_exactly(*idle, 1)) == "x");
  CHECK((co_await busy->close()).status == 0);
  CHECK((co_await idle->close()).status == 0);
}

task<> open_one(remote_host& host, std::unique_ptr<stream>& into) {
  into = co_await host.exec("cat", own_window);
}
task<> cancelled_opens(remote_host& host) {
  for (int hops = 0; hops < 12; ++hops) {
    std::unique_ptr<stream> never;
    scope opening(co_await asio::this_coro::executor);
    opening.spawn(open_one(host, never));
    for (int i = 0; i < hops; ++i) {
      co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    }
    opening.cancel();
    try {
      co_await opening.join();
    } catch (std::system_error const&) {
    }
  }
  CHECK((co_await run_command(host, "echo fine")).output == "fine\n");
}

task<> many_opens_at_once(remote_host& host) {
  std::unique_ptr<stream> streams[4];
  scope opening(co_await asio::this_coro::executor);
  for (auto& one : streams) opening.spawn(open_one(host, one));
  co_await opening.join();
  for (auto& one : streams) {
    co_await one->write(as_bytes("abc"));
    CHECK(as_text(co_await read_exactly(*one, 3)) == "abc");
    CHECK((co_await one->close()).status == 0);
  }
}

task<> too_many_sessions(remote_host& host) {
  auto first = co_await host.exec("cat", own_window);
  try {
    auto second = co_await host.exec("cat", own_window);
    FAIL("the second session was opened");
  } catch (error const& e) {
    CHECK(e.code() == transport_errc::no_more_sessions);
  }
  co_await first->write(as_bytes("ok"));
  CHECK(as_text(co_await read_exactly(*first, 2)) == "ok");
  CHECK((co_await first->close()).status == 0);
}

}  // namespace

TEST_SUITE("ssh_host") {
  TEST_CASE("libssh2 over a real sshd is a stream like any other") {
    sshd_fixture sshd;
    test_context test;
    auto const host = connect(test, sshd);
    CHECK(host->description() == "ssh (libssh2)");
    check_stream_conformance(test, *host, {});
    test.run(host->close());
  }

  TEST_CASE("libssh2 survives a server that changes keys every megabyte") {
    sshd_fixture sshd("RekeyLimit 1M");
    test_context test;
    auto const host = connect(test, sshd);
    check_stream_conformance(test, *host, {});
    SUBCASE("also while one stream is idle") { test.run(idle_during_rekeys(*host)); }
    test.run(host->close());
  }

  TEST_CASE("openssh over a real sshd is a stream like any other") {
    sshd_fixture sshd;
    test_context test;
    auto const host = connect(test, sshd, transport_choice::openssh);
    CHECK(host->description() == "openssh");
    check_stream_conformance(test, *host, {});
    test.run(host->close());
  }

  TEST_CASE("a command that died of a signal is reported with its name") {
    sshd_fixture sshd;
    test_context test;
    auto const host = connect(test, sshd);
    test.run(dies_of_signal(*host));
  }

  TEST_CASE("an sshd killed in the middle of a transfer is a lost connection") {
    sshd_fixture sshd;
    test_context test;
    auto transport = transport_choice::libssh2;
    SUBCASE("libssh2") {}
    SUBCASE("openssh") { transport = transport_choice::openssh; }
    auto const host = connect(test, sshd, transport);
    auto const failure = test.failure_of(lose_it(*host, sshd));
    CHECK(failure.code() == transport_errc::connection_lost);
    CHECK(failure.kind() == severity::transient);
    CHECK(failure.host() == "127.0.0.1");
    CHECK(!failure.cause().empty());
    test.run(host->close());
  }

  TEST_CASE("a server that answers no more is a lost connection") {
    sshd_fixture sshd;
    test_context test;
    auto context = test.context();
    context.alive_interval = std::chrono::seconds(1);
    auto const host =
        test.run(connect_ssh(context, sshd_fixture::host, sshd.options(transport_choice::libssh2)));
    auto const failure = test.failure_of(wait_for_the_frozen(*host, sshd));
    CHECK(failure.code() == transport_errc::connection_lost);
    CHECK(failure.kind() == severity::transient);
    CHECK(failure.cause().find("has not answered") != std::string::npos);
  }

  TEST_CASE("a server that is asked while nothing else happens answers") {
    sshd_fixture sshd("LogLevel DEBUG1\n");
    test_context test;
    auto context = test.context();
    context.alive_interval = std::chrono::seconds(1);  // libssh2 asks every other second at most
    auto const host =
        test.run(connect_ssh(context, sshd_fixture::host, sshd.options(transport_choice::libssh2)));
    test.run(run_without_a_word(*host));
    CHECK(sshd.log().find("keepalive@libssh2.org") != std::string::npos);
    test.run(host->close());
  }

  TEST_CASE("an open that is cancelled at any point leaves the session usable") {
    sshd_fixture sshd;
    test_context test;
    auto const host = connect(test, sshd);
    test.run(cancelled_opens(*host));
  }

  TEST_CASE("streams may be opened at the same time") {
    sshd_fixture sshd;
    test_context test;
    auto const host = connect(test, sshd);
    test.run(many_opens_at_once(*host));
  }

  TEST_CASE("a session too many is refused, and the others go on") {
    sshd_fixture sshd("MaxSessions 1");
    test_context test;
    auto const host = connect(test, sshd);
    test.run(too_many_sessions(*host));
  }

  TEST_CASE("a file goes over SFTP once and whole") {
    sshd_fixture sshd;
    test_context test;
    auto const host = connect(test, sshd);
    auto const path = sshd.folder().path("uploaded");
    auto const content = noise_bytes(5'000'000, 7);
    CHECK(test.run(host->put_file(path, content)));
    CHECK(sha256(as_bytes(sshd.folder().read("uploaded"))) == sha256(content));
    CHECK(test.run(run_command(*host, "stat -c %a " + path)).output == "600\n");
    auto const again = test.failure_of(host->put_file(path, content));
    CHECK(again.code() == transport_errc::transfer_failed);
    CHECK(again.path() == path);
    auto const nowhere = test.failure_of(host->put_file("/no/such/folder/x", content));
    CHECK(nowhere.cause().find("No such file") != std::string::npos);
    // The session is whole after both.
    CHECK(test.run(run_command(*host, "echo fine")).output == "fine\n");
  }

  TEST_CASE("a server without SFTP says so by false") {
    sshd_fixture sshd("Subsystem sftp /no/such/sftp-server");
    test_context test;
    auto const host = connect(test, sshd);
    byte_vector const content(10);
    CHECK(!test.run(host->put_file(sshd.folder().path("x"), content)));
    CHECK(test.run(run_command(*host, "echo fine")).output == "fine\n");
  }
}

}  // namespace diskdump::test
