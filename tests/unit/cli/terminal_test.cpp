#include "cli/terminal.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "cli/screen_text.hpp"

namespace diskdump {

namespace {

// As much of a terminal as frames use: lines, the cursor's way up, and what is wiped.
class screen {
 public:
  explicit screen(terminal_size size) : size_(size), rows_(1) {}

  void write(std::string const& bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] == '\x1b') {
        auto const end = bytes.find_first_of("AKJhlm", i);
        REQUIRE(end != std::string::npos);
        sequence(bytes.substr(i + 2, end - i - 2), bytes[end]);
        i = end;
      } else if (bytes[i] == '\r') {
        column_ = 0;
      } else if (bytes[i] == '\n') {
        column_ = 0;
        if (++row_ == rows_.size()) rows_.emplace_back();
      } else {
        REQUIRE(column_ + 1 < size_.columns);
        auto& row = rows_[row_];
        row.resize(std::max(row.size(), column_ + 1), ' ');
        row[column_++] = bytes[i];
      }
    }
  }
  [[nodiscard]] std::vector<std::string> text() const {
    auto out = rows_;
    while (!out.empty() && out.back().empty()) out.pop_back();
    return out;
  }

 private:
  void sequence(std::string const& number, char what) {
    if (what == 'A') {
      auto const up = static_cast<std::size_t>(std::stoul(number));
      REQUIRE(up <= row_);
      REQUIRE(up < size_.rows);
      row_ -= up;
    } else if (what == 'K') {
      rows_[row_].resize(column_);
    } else if (what == 'J') {
      rows_.resize(row_ + 1);
      rows_[row_].resize(column_);
    }
  }

  terminal_size size_;
  std::vector<std::string> rows_;
  std::size_t row_ = 0, column_ = 0;
};

std::vector<screen_line> lines(std::vector<std::string> const& texts) {
  std::vector<screen_line> out;
  for (auto const& t : texts) out.push_back({{t}});
  return out;
}

}  // namespace

TEST_SUITE("terminal") {
  using texts = std::vector<std::string>;

  TEST_CASE("a frame takes the place of the one before, longer or shorter") {
    terminal_size const size{20, 10};
    screen s(size);
    screen_writer w(false);
    s.write("$ diskdump\n");
    s.write(w.frame("", lines({"one long line", "two"}), size));
    CHECK(s.text() == texts{"$ diskdump", "one long line", "two"});
    s.write(w.frame("", lines({"one", "2", "three"}), size));
    CHECK(s.text() == texts{"$ diskdump", "one", "2", "three"});
    s.write(w.frame("", lines({"last"}), size));
    CHECK(s.text() == texts{"$ diskdump", "last"});
    s.write(w.frame("", {}, size));
    CHECK(s.text() == texts{"$ diskdump"});
    CHECK(w.frame("", {}, size).empty());
  }

  TEST_CASE("what stays is put above the frame") {
    terminal_size const size{20, 10};
    screen s(size);
    screen_writer w(false);
    s.write(w.frame("", lines({"live one", "live two"}), size));
    s.write(w.frame("done a\ndone b\n", lines({"live"}), size));
    s.write(w.frame("done c\n", {}, size));
    s.write(w.frame("done d\n", {}, size));
    CHECK(s.text() == texts{"done a", "done b", "done c", "done d"});
  }

  TEST_CASE("lines are cut before the last column, and as many as fit are drawn") {
    terminal_size const size{10, 4};
    screen s(size);
    screen_writer w(false);
    for (int i = 0; i < 3; ++i) {
      s.write(w.frame("", lines({"0123456789abc", "b", "c", "d", "e"}), size));
      CHECK(s.text() == texts{"012345678", "b", "c"});
    }
  }

  TEST_CASE("after a change of width the lines that the terminal has broken are taken back") {
    screen_writer w(false);
    static_cast<void>(w.frame("", lines({std::string(70, 'x'), "short"}), {80, 24}));
    auto const narrow = w.frame("", lines({"y"}), {30, 24});
    CHECK(narrow.find("\x1b[4A") != std::string::npos);  // 70 columns are three rows of 30
    static_cast<void>(w.frame("", lines({std::string(70, 'x')}), {80, 24}));
    CHECK(w.frame("", {}, {2, 5}).find("\x1b[4A") != std::string::npos);
  }

  TEST_CASE("a frame wipes no more than it must and is shown at once") {
    screen_writer w(false);
    auto const frame = w.frame("", lines({"a"}), {80, 24});
    CHECK(frame == "\x1b[?2026ha\x1b[K\n\x1b[J\x1b[?2026l");
  }

  TEST_CASE("text is broken at blanks") {
    CHECK(wrapped("a bc def", 4, 1) == texts{"a bc", " def"});
    CHECK(wrapped("abcdefgh", 4, 1) == texts{"abcd", " efg", " h"});
    CHECK(wrapped("", 4, 1) == texts{""});
    CHECK(wrapped("磁盘磁盘", 4, 0) == texts{"磁盘", "磁盘"});
    for (auto const& line : wrapped("one two  three four five-and-six seven", 11, 4)) {
      CHECK(columns_of(line) <= 11);
    }
  }
}

}  // namespace diskdump
