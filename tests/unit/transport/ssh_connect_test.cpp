// Host keys, authentication and refusals, against a real sshd.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>

#include "async/scope.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "sshd_fixture.hpp"
#include "stream_conformance.hpp"
#include "transport/known_hosts.hpp"
#include "transport/openssh_host.hpp"

namespace diskdump::test {

namespace {

error refused(test_context& test, sshd_fixture& sshd, ssh_options options) {
  return test.failure_of(connect_ssh(test.context(), sshd_fixture::host, std::move(options)));
}

std::string run_over(test_context& test, ssh_options options, std::string command) {
  auto const host = test.run(connect_ssh(test.context(), sshd_fixture::host, std::move(options)));
  auto const output = test.run(run_command(*host, std::move(command))).output;
  test.run(host->close());
  return output;
}

void make_key(sshd_fixture& sshd, std::string const& name, std::vector<std::string> const& more) {
  std::vector<std::string> argv{"ssh-keygen", "-q", "-C", "", "-f", sshd.folder().path(name)};
  argv.insert(argv.end(), more.begin(), more.end());
  run_or_throw(argv);
}

bool has(std::string const& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

constexpr transport_choice both_transports[] = {transport_choice::libssh2,
                                                transport_choice::openssh};

// An ssh-agent that ends with the object.
class key_agent {
 public:
  explicit key_agent(scratch_folder const& folder) : socket_(folder.path("agent")) {
    auto const said = run_or_throw({"ssh-agent", "-s", "-a", socket_});
    auto const at = said.find("SSH_AGENT_PID=");
    pid_ = static_cast<pid_t>(std::stol(said.substr(at + 14)));
  }
  ~key_agent() { ::kill(pid_, SIGTERM); }
  key_agent(key_agent const&) = delete;
  key_agent& operator=(key_agent const&) = delete;
  void add(std::string const& file) const {
    run_or_throw({"env", "SSH_AUTH_SOCK=" + socket_, "ssh-add", "-q", file});
  }
  [[nodiscard]] std::string const& socket() const noexcept { return socket_; }

 private:
  std::string socket_;
  pid_t pid_ = -1;
};

task<> connect_forever(connect_context context, ssh_options options) {
  static_cast<void>(co_await connect_ssh(context, sshd_fixture::host, std::move(options)));
}
task<> cancel_connects(connect_context context, ssh_options options) {
  for (int hops = 0; hops < 40; hops += 3) {
    scope connecting(co_await asio::this_coro::executor);
    connecting.spawn(connect_forever(context, options));
    for (int i = 0; i < hops; ++i) {
      co_await context.timers.sleep(std::chrono::milliseconds(1));
    }
    connecting.cancel();
    try {
      co_await connecting.join();
    } catch (std::system_error const&) {
    }
  }
}

}  // namespace

TEST_SUITE("ssh_connect") {
  TEST_CASE("an unknown host key is refused with its fingerprint and the remedy") {
    sshd_fixture sshd;
    sshd.folder().write("known_hosts", "");
    auto const key = run_or_throw({"ssh-keygen", "-lf", sshd.folder().path("host_ed25519.pub")});
    auto const print = key.substr(4, key.find(' ', 4) - 4);
    test_context test;
    for (auto const transport : both_transports) {
      auto const failure = refused(test, sshd, sshd.options(transport));
      CHECK(failure.code() == transport_errc::host_key_unknown);
      CHECK(failure.kind() == severity::permanent);
      CHECK(has(failure.remedy(), "--accept-new-host-keys"));
      if (transport == transport_choice::libssh2) {
        CHECK(has(failure.cause(), "ssh-ed25519 " + print));
        CHECK(has(failure.remedy(), format("ssh-keyscan -p {} 127.0.0.1", sshd.port())));
      }
    }
  }

  TEST_CASE("a new host key is accepted on request, remembered, and holds from then on") {
    for (auto const transport : both_transports) {
      sshd_fixture sshd;
      std::filesystem::remove(sshd.folder().path("known_hosts"));
      test_context test;
      auto options = sshd.options(transport);
      options.accept_new_host_keys = true;
      CHECK(run_over(test, options, "echo hi") == "hi\n");
      options.accept_new_host_keys = false;
      CHECK(run_over(test, options, "echo hi") == "hi\n");
      CHECK(read_known_hosts({sshd.folder().path("known_hosts")},
                             known_hosts_name(sshd_fixture::host, sshd.port()))
                .size() == 1);
    }
  }

  TEST_CASE("a changed host key is refused whatever is asked for") {
    sshd_fixture sshd;
    make_key(sshd, "other", {"-t", "ed25519", "-N", ""});
    sshd.folder().write("known_hosts", "# one line\n" + sshd.known_hosts_line("other"));
    auto const before = sshd.folder().read("known_hosts");
    test_context test;
    for (auto const transport : both_transports) {
      auto options = sshd.options(transport);
      options.accept_new_host_keys = true;
      auto const failure = refused(test, sshd, options);
      CHECK(failure.code() == transport_errc::host_key_changed);
      CHECK(has(failure.remedy(), "ssh-keygen"));
      if (transport == transport_choice::libssh2) {
        CHECK(failure.path() == sshd.folder().path("known_hosts") + ":2");
        CHECK(has(failure.cause(), "it shows ssh-ed25519 SHA256:"));
        CHECK(has(failure.cause(), "known is ssh-ed25519 SHA256:"));
        CHECK(has(failure.remedy(), format("-R '[127.0.0.1]:{}'", sshd.port())));
      }
    }
    CHECK(sshd.folder().read("known_hosts") == before);
  }

  TEST_CASE("a revoked host key is refused") {
    sshd_fixture sshd;
    sshd.folder().write("known_hosts", "@revoked " + sshd.known_hosts_line());
    test_context test;
    auto options = sshd.options();
    options.accept_new_host_keys = true;
    auto const failure = refused(test, sshd, options);
    CHECK(failure.code() == transport_errc::host_key_changed);
    CHECK(has(failure.cause(), "@revoked"));
  }

  TEST_CASE("the server is asked for the type of key that is known") {
    scratch_folder keys;
    run_or_throw({"ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", "", "-f", keys.path("e")});
    sshd_fixture sshd(format("HostKey {}", keys.path("e")));
    auto const text = keys.read("e.pub");
    sshd.folder().write("known_hosts", format("[127.0.0.1]:{} {}", sshd.port(), text));
    test_context test;
    // libssh2 left alone prefers ed25519, which is not in the file.
    CHECK(run_over(test, sshd.options(), "echo hi") == "hi\n");
  }

  TEST_CASE("aliases, hashed names and names without the port are found") {
    sshd_fixture sshd;
    test_context test;
    auto const line = sshd.known_hosts_line();
    auto const key = line.substr(line.find(' '));
    SUBCASE("alias") {
      sshd.folder().write("known_hosts", "the-alias" + key);
      sshd.configure_client("HostKeyAlias the-alias");
    }
    SUBCASE("hashed") {
      run_or_throw({"ssh-keygen", "-q", "-H", "-f", sshd.folder().path("known_hosts")});
    }
    SUBCASE("without port") { sshd.folder().write("known_hosts", "127.0.0.1" + key); }
    CHECK(run_over(test, sshd.options(), "echo hi") == "hi\n");
  }

  TEST_CASE("a key that the server does not know is refused, with all that was tried") {
    sshd_fixture sshd;
    sshd.folder().write("authorized_keys", "");
    test_context test;
    auto const failure = refused(test, sshd, sshd.options());
    CHECK(failure.code() == transport_errc::authentication_failed);
    CHECK(failure.kind() == severity::permanent);
    CHECK(has(failure.cause(), "the server allows publickey"));
    CHECK(has(failure.cause(), sshd.folder().path("id") + ": refused"));
    auto const openssh = refused(test, sshd, sshd.options(transport_choice::openssh));
    CHECK(openssh.code() == transport_errc::authentication_failed);
    CHECK(has(openssh.cause(), "Permission denied (publickey)"));
    CHECK(test.prompt.questions.empty());
  }

  TEST_CASE("a user who does not exist and keys that cannot be read are named") {
    sshd_fixture sshd;
    test_context test;
    auto options = sshd.options();
    options.user = "nobody-of-this-name";
    CHECK(has(refused(test, sshd, options).cause(), "user nobody-of-this-name"));
    std::filesystem::permissions(sshd.folder().path("id"), std::filesystem::perms(0644));
    CHECK(has(refused(test, sshd, sshd.options()).cause(), "can be read by others (mode 0644)"));
    sshd.folder().write("id", "junk");
    CHECK(has(refused(test, sshd, sshd.options()).cause(), "is not a private key"));
    std::filesystem::remove(sshd.folder().path("id"));
    CHECK(has(refused(test, sshd, sshd.options()).cause(), "no key was found"));
  }

  TEST_CASE("an encrypted key is asked for, three times at most, and only if it is wanted") {
    sshd_fixture sshd;
    make_key(sshd, "locked", {"-t", "ed25519", "-N", "open sesame"});
    sshd.configure_client(format("IdentityFile {}", sshd.folder().path("locked")));
    test_context test;
    SUBCASE("right at the second try") {
      sshd.folder().write("authorized_keys", sshd.folder().read("locked.pub"));
      test.prompt.answers = {"wrong", "open sesame"};
      CHECK(run_over(test, sshd.options(), "echo hi") == "hi\n");
      REQUIRE(test.prompt.questions.size() == 2);
      CHECK(has(test.prompt.questions[0], sshd.folder().path("locked")));
    }
    SUBCASE("never right") {
      sshd.folder().write("authorized_keys", sshd.folder().read("locked.pub"));
      test.prompt.answers = {"a", "b", "c", "d"};
      auto const failure = refused(test, sshd, sshd.options());
      CHECK(failure.code() == transport_errc::authentication_failed);
      CHECK(has(failure.cause(), "wrong passphrase"));
      CHECK(test.prompt.answers.size() == 1);
    }
    SUBCASE("no terminal") {
      sshd.folder().write("authorized_keys", sshd.folder().read("locked.pub"));
      CHECK(has(refused(test, sshd, sshd.options()).cause(), "no terminal"));
    }
    SUBCASE("the server does not want it") {
      CHECK(run_over(test, sshd.options(), "echo hi") == "hi\n");  // by the other key
      CHECK(test.prompt.questions.empty());
    }
  }

  TEST_CASE("keys of an ssh-agent are used, and with IdentitiesOnly only those that are named") {
    sshd_fixture sshd;
    key_agent const agent(sshd.folder());
    make_key(sshd, "in_agent", {"-t", "ed25519", "-N", ""});
    agent.add(sshd.folder().path("in_agent"));
    sshd.folder().write("authorized_keys", sshd.folder().read("in_agent.pub"));
    std::filesystem::remove(sshd.folder().path("in_agent"));
    test_context test;
    auto const with_agent = format("IdentityAgent {}\n", agent.socket());
    sshd.configure_client(with_agent + "IdentitiesOnly no");
    CHECK(run_over(test, sshd.options(), "echo hi") == "hi\n");
    sshd.configure_client(with_agent);
    CHECK(refused(test, sshd, sshd.options()).code() == transport_errc::authentication_failed);
    // Named by its public half alone.
    sshd.configure_client(with_agent + format("IdentityFile {}", sshd.folder().path("in_agent")));
    CHECK(run_over(test, sshd.options(), "echo hi") == "hi\n");
  }

  TEST_CASE("an RSA key goes by libssh2 where it can, else by openssh, saying why") {
    sshd_fixture sshd;
    make_key(sshd, "rsa", {"-t", "rsa", "-b", "2048", "-N", ""});
    sshd.folder().write("authorized_keys", sshd.folder().read("rsa.pub"));
    sshd.configure_client(format("IdentityFile {}", sshd.folder().path("rsa")));
    test_context test;
    auto const host = test.run(
        connect_ssh(test.context(), sshd_fixture::host, sshd.options(transport_choice::automatic)));
    CHECK(test.run(run_command(*host, "echo hi")).output == "hi\n");
    auto const log = test.log.text();
    CHECK((host->description() == "openssh") == has(log, "using openssh instead of libssh2"));
    if (host->description() == "openssh") CHECK(has(log, "RSA"));
    test.run(host->close());
  }

  TEST_CASE("ciphers that libssh2 lacks go by openssh, saying why") {
    sshd_fixture sshd(
        "Ciphers aes256-gcm@openssh.com\nKexAlgorithms "
        "sntrup761x25519-sha512@openssh.com");
    test_context test;
    auto const host = test.run(
        connect_ssh(test.context(), sshd_fixture::host, sshd.options(transport_choice::automatic)));
    CHECK(host->description() == "openssh");
    CHECK(has(test.log.text(), "the negotiation failed"));
    CHECK(test.run(run_command(*host, "echo hi")).output == "hi\n");
    test.run(host->close());
    auto const failure = refused(test, sshd, sshd.options());
    CHECK(failure.code() == transport_errc::negotiation_failed);
  }

  TEST_CASE("a proxy goes by openssh") {
    sshd_fixture sshd;
    sshd.configure_client(format(
        "ProxyCommand bash -c 'exec 3<>/dev/tcp/127.0.0.1/{}; cat <&3 & cat >&3'", sshd.port()));
    test_context test;
    auto const host = test.run(
        connect_ssh(test.context(), sshd_fixture::host, sshd.options(transport_choice::automatic)));
    CHECK(host->description() == "openssh");
    CHECK(has(test.log.text(), "ProxyCommand"));
    CHECK(test.run(run_command(*host, "echo hi")).output == "hi\n");
    test.run(host->close());
  }

  TEST_CASE("names that do not resolve, refused ports and other servers are told apart") {
    sshd_fixture sshd;
    test_context test;
    for (auto const transport : both_transports) {
      auto options = sshd.options(transport);
      auto const unknown =
          test.failure_of(connect_ssh(test.context(), "no-such-host.invalid", options));
      CHECK(unknown.code() == transport_errc::unknown_host);
      CHECK(unknown.host() == "no-such-host.invalid");
      options.port = 1;
      auto const closed = test.failure_of(connect_ssh(test.context(), "127.0.0.1", options));
      CHECK(closed.code() == transport_errc::cannot_connect);
      CHECK(closed.kind() == severity::transient);
      CHECK(has(closed.cause(), "refused"));
    }
    // A server that closes at once.
    asio::ip::tcp::acceptor acceptor(test.loop, {asio::ip::address_v4::loopback(), 0});
    acceptor.async_accept([](asio::error_code, asio::ip::tcp::socket) {});
    auto options = sshd.options();
    options.port = acceptor.local_endpoint().port();
    auto const other = test.failure_of(connect_ssh(test.context(), "127.0.0.1", options));
    CHECK(other.code() == transport_errc::negotiation_failed);
  }

  TEST_CASE("openssh does not wait for ever for a server that says nothing") {
    sshd_fixture sshd;
    test_context test;
    asio::ip::tcp::acceptor acceptor(test.loop, {asio::ip::address_v4::loopback(), 0});
    auto options = sshd.options(transport_choice::openssh);
    options.port = acceptor.local_endpoint().port();
    auto const silent = test.failure_of(
        connect_openssh(test.context(), "127.0.0.1", options, std::chrono::seconds(1)));
    CHECK(silent.host() == "127.0.0.1");
    CHECK(has(silent.cause(), "timed out"));
  }

  TEST_CASE("a connection may be given up at any moment") {
    sshd_fixture sshd("MaxStartups 100");
    test_context test;
    test.run(cancel_connects(test.context(), sshd.options()));
    CHECK(run_over(test, sshd.options(), "echo hi") == "hi\n");
  }

  TEST_CASE("what ssh says becomes one of our errors") {
    auto const code = [](std::string_view said) { return openssh_error("h", said).code(); };
    CHECK(code("ssh: Could not resolve hostname x: Name or service not known\r\n") ==
          transport_errc::unknown_host);
    CHECK(code("joe@h: Permission denied (publickey).\r\n") ==
          transport_errc::authentication_failed);
    CHECK(code("@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
               "Host key verification failed.\r\n") == transport_errc::host_key_changed);
    CHECK(code("something new\r\n") == transport_errc::connection_lost);
    CHECK(openssh_error("h", "one\r\n@@@@\r\ntwo\r\n").cause() == "one; two");
  }
}

}  // namespace diskdump::test
