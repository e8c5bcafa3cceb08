// Commands around a dump: what they print is taken apart, and what a person wrote reaches the shell
// as it is. How they run is tests/e2e/pre_post_test.py.
#include "pipeline/target_command.hpp"

#include <doctest/doctest.h>

#include <cstdio>
#include <memory>

#include "base/limits.hpp"
#include "pipeline/command_output.hpp"

namespace diskdump {

namespace {

struct listener {
  std::vector<std::string> lines;
  command_output output{"diskdump-abc", [this](std::string const& line) { lines.push_back(line); }};
  void hear(std::string_view text, std::size_t step) {
    for (; !text.empty(); text.remove_prefix(std::min(step, text.size()))) {
      output.feed(as_bytes(text.substr(0, step)));
    }
  }
};

std::string through_shell(std::string const& text) {
  auto const command = "printf %s " + shell_word(text);
  std::unique_ptr<FILE, int (*)(FILE*)> const out(::popen(command.c_str(), "r"), ::pclose);
  std::string said;
  for (int c = std::fgetc(out.get()); c != EOF; c = std::fgetc(out.get())) {
    said += static_cast<char>(c);
  }
  return said;
}

}  // namespace

TEST_SUITE("target_command") {
  TEST_CASE("lines between the marks are shown, in whatever pieces they come") {
    for (std::size_t const step : {1, 2, 3, 7, 1000}) {
      CAPTURE(step);
      listener l;
      l.hear("welcome!\ndiskdump-abc:begin\none\n\ntwo\n", step);
      CHECK(l.output.begun());
      CHECK_FALSE(l.output.status());
      l.hear("diskdump-abc:status:3\nmore\n", step);
      CHECK(l.output.status() == 3);
      CHECK(l.lines == std::vector<std::string>{"one", "", "two"});
      CHECK(l.output.last_line() == "two");
    }
  }

  TEST_CASE(
      "login noise may stand before the mark, and output before the status, without a line end") {
    listener l;
    l.hear("no line enddiskdump-abc:begin\nneither herediskdump-abc:status:0\n", 5);
    CHECK(l.output.status() == 0);
    CHECK(l.lines == std::vector<std::string>{"neither here"});
  }

  TEST_CASE("what looks like a mark and is none proves nothing") {
    listener l;
    l.hear("diskdump-abc:status:0\n", 100);
    CHECK_FALSE(l.output.status());
    l.hear(
        "diskdump-abc:begin\ndiskdump-abc:status:\ndiskdump-abc:status:x\ndiskdump-ab:status:0\n"
        "diskdump-abc:status:0x\n",
        100);
    CHECK_FALSE(l.output.status());
    l.hear("diskdump-abc:status:1", 100);
    CHECK_FALSE(l.output.status());
    l.hear("\n", 1);
    CHECK(l.output.status() == 1);
  }

  TEST_CASE("control characters do not reach the terminal") {
    listener l;
    l.hear("diskdump-abc:begin\na\x1b[2Jb\n", 100);
    REQUIRE(l.lines.size() == 1);
    CHECK(l.lines.front() == "a\\x1b[2Jb");
  }

  TEST_CASE("a line without end is cut, and the status behind it is still found") {
    for (std::size_t const length :
         {limits::target_command_line_bytes_max - 1, limits::target_command_line_bytes_max,
          limits::target_command_line_bytes_max + 10, limits::target_command_line_bytes_max + 30,
          std::size_t{1'000'000}}) {
      CAPTURE(length);
      listener l;
      l.hear("diskdump-abc:begin\n" + std::string(length, 'x') + "diskdump-abc:status:7\n", 999);
      CHECK(l.output.status() == 7);
      REQUIRE(l.lines.size() == 1);
      CHECK(l.lines.front().size() <= limits::target_command_line_bytes_max + 8);
      CHECK(l.lines.front().size() >= std::min(length, limits::target_command_line_bytes_max - 8));
    }
  }

  TEST_CASE("endless output is shown up to its bound") {
    listener l;
    l.hear("diskdump-abc:begin\n", 100);
    for (std::size_t i = 0; i < 3 * limits::target_command_lines_max; ++i) l.hear("again\n", 100);
    CHECK(l.lines.size() == limits::target_command_lines_max + 1);
    l.hear("diskdump-abc:status:0\n", 100);
    CHECK(l.output.status() == 0);
  }

  TEST_CASE("any text is one word of the shell") {
    for (std::string const text :
         {"", "plain", "a b", "it's", "''", "'", "\\", "$(touch /tmp/never) `id` $HOME", "a\nb",
          "*", "!x", "\"", "--x;y&z|<>#~"}) {
      CAPTURE(text);
      CHECK(through_shell(text) == text);
    }
  }
}

}  // namespace diskdump
