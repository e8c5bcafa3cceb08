#include "cli/targets_file.hpp"

#include <doctest/doctest.h>

#include "base/limits.hpp"
#include "cli/options.hpp"

namespace diskdump {

namespace {

std::vector<target_argument> list(std::string_view text) { return parse_targets_list(text, "t"); }

std::string refusal(std::string_view text) {
  try {
    static_cast<void>(list(text));
  } catch (usage_error const& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_SUITE("list of targets") {
  TEST_CASE("a line is a target with its flags, as on the command line") {
    auto const t = list("root@a:/dev/sda:sdb --sudo --as first\nb:/y\nc:/z --as=third\n");
    REQUIRE(t.size() == 3);
    CHECK(t[0].user == "root");
    CHECK(t[0].paths == std::vector<std::string>{"/dev/sda", "/dev/sdb"});
    CHECK(t[0].sudo);
    CHECK(t[0].name == "first");
    CHECK_FALSE(t[1].sudo);
    CHECK(t[1].name.empty());
    CHECK(t[2].name == "third");
    CHECK(t[2].where == "t:3");
  }

  TEST_CASE("comments, blank lines, blanks, CRLF, a byte order mark and no last line end") {
    auto const t = list(
        "\xef\xbb\xbf# all\r\n\r\n   \t\r\n  a:/x --sudo  # the first\r\n#b:/y\r\nc:/z#2 --as n#3");
    REQUIRE(t.size() == 2);
    CHECK(t[0].paths.front() == "/x");
    CHECK(t[0].sudo);
    CHECK(t[0].where == "t:4");
    // A # inside a word is a letter like any other, as in a shell.
    CHECK(t[1].paths.front() == "/z#2");
    CHECK(t[1].name == "n#3");
  }

  TEST_CASE("words are quoted as in a shell, and nothing is expanded") {
    auto const path = [](std::string_view line) { return list(line).at(0).paths.at(0); };
    CHECK(path("'h:/a b'") == "/a b");
    CHECK(path("h:'/a b'\"/c d\"/e\\ f") == "/a b/c d/e f");
    CHECK(path(R"(h:"/a\"b\$c\x")") == R"(/a"b$c\x)");
    CHECK(path(R"(h:'/a"$(touch x)*~')") == R"(/a"$(touch x)*~)");
    CHECK(path("h:/a'#'b") == "/a#b");
    CHECK(path(R"(h:/a\#b)") == "/a#b");
    // The shell takes one backslash, the target the other: a colon that parts no paths.
    CHECK(path(R"(h:/a\\:b)") == "/a:b");
    CHECK(path(R"('h:/a\:b')") == "/a:b");
  }

  TEST_CASE("an error names the list and the line") {
    CHECK(refusal("a:/x\n\nhost\n").starts_with("t:3: target 'host': no path"));
    CHECK(refusal("a:/x\n'b:/y").starts_with("t:2: the quote ' is not closed"));
    CHECK(refusal("a:/x \"").starts_with("t:1: the quote \" is not closed"));
    CHECK(refusal("a:/x\\").starts_with("t:1: nothing follows the backslash"));
    CHECK(refusal("--sudo a:/x").starts_with("t:1: --sudo applies to the target before it"));
    CHECK(refusal("a:/x --as").starts_with("t:1: --as needs a name"));
    CHECK(refusal("a:/x b:/y").starts_with("t:1: one target a line"));
    CHECK(refusal(std::string_view("a:/x\0", 5)).find("zero byte") != std::string::npos);
  }

  TEST_CASE("an option of the whole dump is refused by its name") {
    CHECK(refusal("a:/x -u joe").starts_with("t:1: -u is no flag of a target"));
    CHECK(refusal("\na:/x --block-size=4096").starts_with("t:2: --block-size is no flag"));
    CHECK(refusal("a:/x --targets-from other").starts_with("t:1: --targets-from is no flag"));
  }

  TEST_CASE("what an error quotes cannot reach the terminal's controls") {
    auto const text = refusal("ho\x1b[2Jst\n");
    CHECK(text.find('\x1b') == std::string::npos);
    CHECK(text.find("\\x1b[2J") != std::string::npos);
  }

  TEST_CASE("lines, words and targets are bounded") {
    std::string const path(limits::path_bytes_max - 1, 'x');
    CHECK(list("h:/" + path).at(0).paths.at(0).size() == limits::path_bytes_max);
    CHECK(refusal("#" + std::string(limits::targets_line_bytes_max, 'x')).find("longer than") !=
          std::string::npos);
    std::string words = "h:/x";
    for (std::size_t i = 0; i < limits::targets_line_words_max; ++i) words += " --sudo";
    CHECK(refusal(words).find("words") != std::string::npos);
    std::string many;
    for (std::size_t i = 0; i < limits::targets_max; ++i) many += "h:/x\n";
    CHECK(list(many).size() == limits::targets_max);
    CHECK(refusal(many + "h:/x").starts_with("t:4097: more than 4096 targets"));
  }

  TEST_CASE("an empty list is no error by itself") {
    CHECK(list("").empty());
    CHECK(list("# nothing\n\n").empty());
  }
}

}  // namespace diskdump
