#include "transport/ssh_config.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "sshd_fixture.hpp"
#include "test_context.hpp"
#include "transport/identity_file.hpp"

namespace diskdump::test {

TEST_SUITE("ssh_config") {
  TEST_CASE("the output of ssh -G becomes settings, with paths expanded") {
    auto const home = std::string(std::getenv("HOME"));
    ::setenv("DISKDUMP_TEST_VARIABLE", "value", 1);
    auto const settings = parse_ssh_settings(
        "host x\nuser joe\nhostname target.example.org\nport 2222\nidentitiesonly yes\n"
        "identityfile ~/.ssh/one\nidentityfile %d/%h-%r-%p-%n-%%\n"
        "identityfile ${DISKDUMP_TEST_VARIABLE}/k\nidentityagent none\n"
        "userknownhostsfile ~/a /b\nglobalknownhostsfile none\nhostkeyalias other\n"
        "proxyjump gate\nconnecttimeout 7\nstricthostkeychecking no\n",
        "x");
    CHECK(settings.name == "x");
    CHECK(settings.hostname == "target.example.org");
    CHECK(settings.port == 2222);
    CHECK(settings.user == "joe");
    CHECK(settings.identities_only);
    CHECK(settings.identity_files ==
          std::vector<std::string>{home + "/.ssh/one", home + "/target.example.org-joe-2222-x-%",
                                   "value/k"});
    CHECK(settings.identity_agent.empty());
    CHECK(settings.user_known_hosts == std::vector<std::string>{home + "/a", "/b"});
    CHECK(settings.global_known_hosts.empty());
    CHECK(settings.host_key_alias == "other");
    CHECK(settings.proxy_jump == "gate");
    CHECK(settings.proxy_command.empty());
    CHECK(settings.connect_timeout == std::chrono::seconds(7));
  }

  TEST_CASE("what is absent or none has OpenSSH's defaults") {
    auto const settings = default_ssh_settings("x");
    CHECK(settings.hostname == "x");
    CHECK(settings.port == 22);
    CHECK(!settings.user.empty());
    CHECK(settings.connect_timeout == limits::connect_timeout_max);
    for (auto const* none : {"0", "none"}) {
      CHECK(parse_ssh_settings(std::string("connecttimeout ") + none + "\n", "x").connect_timeout ==
            limits::connect_timeout_max);
    }
    CHECK(parse_ssh_settings("proxyjump gate\n", "x").connect_timeout ==
          limits::proxied_connect_timeout_max);
    CHECK(settings.identity_files.size() == 3);
    CHECK(parse_ssh_settings("connecttimeout none\nproxyjump none\n", "x").proxy_jump.empty());
    CHECK_THROWS_AS(static_cast<void>(parse_ssh_settings("port 70000\n", "x")), error);
  }

  TEST_CASE("the real ssh is asked, with the options of the command line") {
    test_context test;
    scratch_folder folder;
    folder.write("config",
                 "Host short\n HostName long.example.org\n Port 2200\n User anna\n"
                 " ProxyCommand nc %h %p\n");
    ssh_options options;
    options.config_file = folder.path("config");
    auto settings = test.run(resolve_ssh_settings("short", options));
    CHECK(settings.hostname == "long.example.org");
    CHECK(settings.port == 2200);
    CHECK(settings.user == "anna");
    CHECK(settings.proxy_command.starts_with("nc "));
    options.port = 99;
    options.user = "bert";
    folder.write("key.pub", "the key itself is in an agent");
    options.identity_files = {folder.path("key")};
    settings = test.run(resolve_ssh_settings("short", options));
    CHECK(settings.port == 99);
    CHECK(settings.user == "bert");
    CHECK(settings.identity_files.front() == folder.path("key"));
    options.identity_files = {folder.path("absent")};
    auto const failure = test.failure_of(resolve_ssh_settings("short", options));
    CHECK(failure.code() == transport_errc::bad_configuration);
    CHECK(failure.path() == folder.path("absent"));
  }

  TEST_CASE("brackets around an address go, and what is no host is refused") {
    test_context test;
    ssh_options options;
    options.config_file = "none";
    CHECK(test.run(resolve_ssh_settings("[::1]", options)).hostname == "::1");
    for (auto const* host : {"-oProxyCommand=touch /tmp/x", "", "[]", "[-x]"}) {
      auto const failure = test.failure_of(resolve_ssh_settings(host, options));
      CHECK(failure.code() == transport_errc::bad_configuration);
    }
    options.config_file = "/no/such/config";
    auto const failure = test.failure_of(resolve_ssh_settings("x", options));
    CHECK(failure.code() == transport_errc::bad_configuration);
    CHECK(failure.cause().find("/no/such/config") != std::string::npos);
  }
}

TEST_SUITE("identity_file") {
  TEST_CASE("type and encryption are told without the passphrase") {
    scratch_folder folder;
    auto const make = [&](std::string const& name, std::vector<std::string> more) {
      std::vector<std::string> argv{"ssh-keygen", "-q", "-f", folder.path(name)};
      argv.insert(argv.end(), more.begin(), more.end());
      run_or_throw(argv);
      return inspect_identity_file(folder.path(name));
    };
    auto const plain = make("plain", {"-t", "ed25519", "-N", ""});
    CHECK(plain.exists);
    CHECK(plain.unusable.empty());
    CHECK(!plain.encrypted);
    CHECK(plain.key->type == "ssh-ed25519");
    auto const secret = make("secret", {"-t", "ecdsa", "-N", "secret"});
    CHECK(secret.encrypted);
    CHECK(secret.key->type == "ecdsa-sha2-nistp256");
    auto const pem = make("pem", {"-t", "rsa", "-b", "1024", "-m", "PEM", "-N", ""});
    CHECK(pem.unusable.empty());
    CHECK(!pem.encrypted);
    CHECK(pem.key->type == "ssh-rsa");  // from pem.pub
    CHECK(make("pem2", {"-t", "rsa", "-b", "1024", "-m", "PEM", "-N", "secret"}).encrypted);
    CHECK(make("pkcs8", {"-t", "rsa", "-b", "1024", "-m", "PKCS8", "-N", "secret"}).encrypted);
  }

  TEST_CASE("what cannot be used says why") {
    scratch_folder folder;
    CHECK(inspect_identity_file(folder.path("absent")).unusable == "No such file or directory");
    CHECK(!inspect_identity_file(folder.path("absent")).exists);
    folder.write("open", "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0644);
    CHECK(inspect_identity_file(folder.path("open")).unusable.find("mode 0644") !=
          std::string::npos);
    folder.write("junk", "hello", 0600);
    CHECK(inspect_identity_file(folder.path("junk")).unusable == "is not a private key");
    folder.write("cut", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n", 0600);
    CHECK(inspect_identity_file(folder.path("cut")).unusable == "is not a private key");
    CHECK(is_hardware_key("sk-ssh-ed25519@openssh.com"));
    CHECK(!is_hardware_key("ssh-ed25519"));
    CHECK(is_certificate_type("ssh-ed25519-cert-v01@openssh.com"));
  }
}

}  // namespace diskdump::test
