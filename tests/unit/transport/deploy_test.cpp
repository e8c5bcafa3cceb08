// The deployment on this machine, through the same shell commands as over SSH. The agent is a shell
// script that can do what the deployment asks of one: prove its digest, and say something.
#include "transport/deploy.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/limits.hpp"
#include "codec/digest.hpp"
#include "test_context.hpp"
#include "transport/deploy_script.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view agent_script =
    "#!/bin/sh\n"
    "case $1 in\n"
    "probe) sha256sum \"$0\" | cut -c1-64 ;;\n"
    "serve) echo \"served $2\"; cat ;;\n"
    "esac\n";
constexpr std::string_view python_script =
    "import sys, hashlib\nsys.stdout.write('python ' + sys.argv[1] + chr(10))\nsys.stdout.flush()\n"
    "sys.stdout.write(sys.stdin.buffer.read().decode())\n";
constexpr char const* nonce = "00112233445566778899aabbccddeeff";

// The process's home and cache, in a folder of the test's own.
struct own_home {
  fs::path folder;
  own_home() {
    std::string pattern = (fs::temp_directory_path() / "diskdump-XXXXXX").string();
    folder = ::mkdtemp(pattern.data());
    fs::create_directory(folder / "cache");
    fs::create_directory(folder / "home");
    ::setenv("HOME", (folder / "home").c_str(), 1);
    ::setenv("XDG_CACHE_HOME", (folder / "cache").c_str(), 1);
  }
  ~own_home() {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }
  [[nodiscard]] fs::path agent() const {
    return folder / "cache/diskdump" / sha256(as_bytes(agent_script)).hex() / "agent";
  }
};

// Stands before the system's programs while it lives.
struct own_program {
  std::string path_before = std::getenv("PATH");
  own_program(own_home const& home, std::string const& name, std::string_view text) {
    auto const folder = home.folder / "bin";
    fs::create_directory(folder);
    std::ofstream(folder / name) << text;
    fs::permissions(folder / name, fs::perms::owner_all);
    ::setenv("PATH", (folder.string() + ":" + path_before).c_str(), 1);
  }
  ~own_program() { ::setenv("PATH", path_before.c_str(), 1); }
  own_program(own_program const&) = delete;
  own_program& operator=(own_program const&) = delete;
};

struct outcome {
  launched_agent agent;
  std::string said;
};

task<outcome> launch_and_listen(test::test_context& context, agent_launch launch,
                                std::string_view machine) {
  agent_binary const binary{machine, as_bytes(agent_script), sha256(as_bytes(agent_script))};
  auto const host = open_local_host(context.context());
  agent_images const images{std::span(&binary, 1), python_script};
  outcome out;
  out.agent = co_await launch_agent(*host, images, std::move(launch), context.log);
  co_await out.agent.io->write(as_bytes("and read"));
  co_await out.agent.io->write_eof();
  byte_vector buffer(1000);
  while (auto const n = co_await out.agent.io->read(byte_span(buffer))) {
    out.said += as_text(byte_view(buffer).first(n));
  }
  co_await out.agent.io->close();
  out.agent.io.reset();
  co_return out;
}

// A host without file transfer.
class no_transfer_host final : public remote_host {
 public:
  explicit no_transfer_host(std::unique_ptr<remote_host> inner) : inner_(std::move(inner)) {}
  task<std::unique_ptr<stream>> exec(std::string command, std::size_t window_bytes) override {
    return inner_->exec(std::move(command), window_bytes);
  }
  task<bool> put_file(std::string, byte_view) override { co_return false; }
  task<> close() override { return inner_->close(); }
  std::string description() const override { return inner_->description(); }

 private:
  std::unique_ptr<remote_host> inner_;
};

std::string this_machine() {
  std::string name;
  std::unique_ptr<FILE, int (*)(FILE*)> const out(::popen("uname -m", "r"), ::pclose);
  for (int c = std::fgetc(out.get()); c != EOF && c != '\n'; c = std::fgetc(out.get())) {
    name += static_cast<char>(c);
  }
  return name;
}

outcome launch(test::test_context& context, agent_choice agent = agent_choice::automatic,
               std::string const& machine = this_machine()) {
  return context.run(launch_and_listen(
      context, {.agent = agent, .sudo = false, .nonce_hex = nonce, .window_bytes = 65536},
      machine));
}

}  // namespace

TEST_SUITE("deploy") {
  TEST_CASE("the first run uploads the agent, the second finds it there") {
    own_home const home;
    test::test_context context;
    auto const first = launch(context);
    CHECK(first.agent.uploaded);
    CHECK_FALSE(first.agent.python);
    CHECK(first.said == std::string("served ") + nonce + "\nand read");
    CHECK(first.agent.location == home.agent().string());
    struct stat found{};
    REQUIRE(::stat(home.agent().c_str(), &found) == 0);
    CHECK((found.st_mode & 07777) == 0500);
    REQUIRE(::stat((home.folder / "cache/diskdump").c_str(), &found) == 0);
    CHECK((found.st_mode & 07777) == 0700);

    auto const second = launch(context);
    CHECK_FALSE(second.agent.uploaded);
    CHECK(second.said == first.said);
  }

  TEST_CASE("an agent whose content changed is not run but replaced") {
    own_home const home;
    test::test_context context;
    static_cast<void>(launch(context));
    fs::permissions(home.agent(), fs::perms::owner_all);
    std::ofstream(home.agent(), std::ios::app) << "# tampered\n";
    auto const again = launch(context);
    CHECK(again.agent.uploaded);
    CHECK(again.said == std::string("served ") + nonce + "\nand read");
  }

  TEST_CASE("a directory that others can write, or that is a link, is passed over") {
    own_home const home;
    test::test_context context;
    fs::create_directory(home.folder / "cache/diskdump");
    fs::permissions(home.folder / "cache/diskdump", fs::perms::all);
    fs::create_directories(home.folder / "home/.cache");
    fs::create_directory(home.folder / "elsewhere");
    fs::create_symlink(home.folder / "elsewhere", home.folder / "home/.cache/diskdump");
    auto const out = launch(context);
    CHECK(out.agent.location.find(home.folder.string()) == std::string::npos);
    CHECK(fs::is_empty(home.folder / "elsewhere"));
    // What it left in the places that all tests share is taken away again.
    fs::remove_all(fs::path(out.agent.location).parent_path());
  }

  TEST_CASE("without an agent for the machine Python takes over, or the error says why") {
    own_home const home;
    test::test_context context;
    auto const out = launch(context, agent_choice::automatic, "pdp11");
    CHECK(out.agent.python);
    CHECK(out.said == std::string("python ") + nonce + "\nand read");
    CHECK(context.log.text().find("there is no agent for") != std::string::npos);
    CHECK_THROWS_WITH_AS(static_cast<void>(launch(context, agent_choice::native, "pdp11")),
                         doctest::Contains("there is no agent for"), error);
  }

  TEST_CASE("Python on request") {
    own_home const home;
    test::test_context context;
    auto const out = launch(context, agent_choice::python);
    CHECK(out.agent.python);
    CHECK_FALSE(fs::exists(home.folder / "cache/diskdump"));
  }

  TEST_CASE("Python takes no module from the current directory or PYTHONPATH") {
    own_home const home;
    std::ofstream(home.folder / "hashlib.py") << "print('not the real one', flush=True)\n";
    auto const before = fs::current_path();
    test::test_context context;
    fs::current_path(home.folder);
    auto const here = launch(context, agent_choice::python).said;
    fs::current_path(before);
    CHECK(here == std::string("python ") + nonce + "\nand read");
    ::setenv("PYTHONPATH", home.folder.c_str(), 1);
    auto const named = launch(context, agent_choice::python).said;
    ::unsetenv("PYTHONPATH");
    CHECK(named == here);
  }

  TEST_CASE("a program that refuses before it has read all says so itself") {
    own_home const home;
    own_program const sudo(home, "sudo",
                           "#!/bin/sh\necho sudo: a password is required >&2\nexit 1\n");
    test::test_context context;
    auto const host = open_local_host(context.context());
    // More than any pipe holds: writing it fails before the refusal is read.
    std::string const script(4 * limits::MiB, '#');
    auto const failure = context.failure_of(launch_agent(
        *host, {{}, script},
        {.agent = agent_choice::python, .sudo = true, .nonce_hex = nonce, .window_bytes = 65536},
        context.log));
    CHECK(failure.code() == transport_errc::agent_did_not_start);
    CHECK(failure.cause().find("a password is required") != std::string::npos);
    CHECK(failure.remedy().find("NOPASSWD") != std::string::npos);
  }

  TEST_CASE("a place that takes no file is passed over for the next one") {
    own_home const home;
    own_program const cat(home, "cat", "#!/bin/sh\necho cat: no room >&2\nexit 1\n");
    test::test_context context;
    auto const big = std::string(agent_script) + "#" + std::string(4 * limits::MiB, '#') + "\n";
    auto const machine = this_machine();
    agent_binary const binary{machine, as_bytes(big), sha256(as_bytes(big))};
    no_transfer_host host(open_local_host(context.context()));
    auto const failure = context.failure_of(launch_agent(
        host, {std::span(&binary, 1), python_script},
        {.agent = agent_choice::native, .sudo = false, .nonce_hex = nonce, .window_bytes = 65536},
        context.log));
    CHECK(failure.code() == transport_errc::no_place_for_agent);
    CHECK(failure.cause().find("no room") != std::string::npos);
    CHECK(failure.cause().find((home.folder / "cache").string()) != std::string::npos);
    CHECK(failure.cause().find("/tmp/diskdump-") != std::string::npos);
  }

  TEST_CASE("the commands survive every login shell: one line, one pair of single quotes") {
    uploaded_agent const uploaded{3, "0123456789abcdef", 1234};
    for (auto const& command :
         {launch_command({}, nonce, sudo_use::without_password, uploaded),
          launch_command({}, nonce, sudo_use::with_password, uploaded),
          launch_command({}, nonce, sudo_use::none, std::nullopt), receive_command(nonce, uploaded),
          python_command(nonce, sudo_use::with_password, 99), sudo_check_command(nonce),
          script_command(nonce, sudo_use::with_password)}) {
      CAPTURE(command);
      CHECK(command.starts_with("exec sh -c '"));
      CHECK(command.ends_with("'"));
      auto const inner = command.substr(12, command.size() - 13);
      CHECK(inner.find_first_of("'\\!\n\r") == std::string::npos);
    }
  }

  TEST_CASE("the report is found behind login noise, in pieces of any size") {
    std::string noise;
    for (int i = 0; i < 5000; ++i) noise += static_cast<char>(i * 167 + 13);
    auto const text = noise + report_mark(nonce) + ":dir:2:/a b\n" + report_mark(nonce) +
                      ":no:/c: why\n" + report_mark(nonce) + ":end:1:x86_64\nrest";
    for (std::size_t const piece : {std::size_t{1}, std::size_t{7}, text.size()}) {
      report_parser parser(nonce);
      bool whole = false;
      for (std::size_t at = 0; at < text.size() && !whole; at += piece) {
        whole = parser.feed(as_bytes(std::string_view(text).substr(at, piece)));
      }
      REQUIRE(whole);
      CHECK_FALSE(parser.report().running);
      CHECK(parser.report().machine == "x86_64");
      CHECK(parser.report().has_python);
      REQUIRE(parser.report().usable.size() == 1);
      CHECK(parser.report().usable[0].path == "/a b");
      CHECK(parser.report().usable[0].number == 2);
      CHECK(parser.report().refused == std::vector<std::string>{"/c: why"});
      if (piece == text.size()) CHECK(as_text(parser.rest()) == "rest");
    }
  }

  TEST_CASE("endless noise ends the wait") {
    report_parser parser(nonce);
    std::string const line(1000, 'x');
    auto const flood = [&] {
      for (;;) static_cast<void>(parser.feed(as_bytes(line)));
    };
    CHECK_THROWS_AS(flood(), error);
  }
}

}  // namespace diskdump
