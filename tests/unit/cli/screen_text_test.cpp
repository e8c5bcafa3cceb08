#include "cli/screen_text.hpp"

#include <doctest/doctest.h>

namespace diskdump {

TEST_SUITE("screen text") {
  TEST_CASE("letters of every script stay") {
    for (auto const* text : {"plain", "Größe", "сервер", "磁盘", "a…b", "e\u0301"}) {
      CHECK(screen_text(text) == text);
    }
  }

  TEST_CASE("what a terminal would obey is shown instead") {
    CHECK(screen_text("a\x1b[2Jb") == "a\\x1b[2Jb");
    CHECK(screen_text("a\nb\tc\rd") == "a b c d");
    CHECK(screen_text("\x7f") == "\\x7f");
    CHECK(screen_text("\u009b2J") == "\\x9b2J");  // CSI as one letter
    CHECK(screen_text("\u202eabc") == "\\u202eabc");
    CHECK(screen_text("a\u200bb") == "a\\u200bb");
    CHECK(screen_text(std::string_view("a\0b", 3)) == "a\\x00b");
  }

  TEST_CASE("bytes that are no UTF-8 are shown one by one") {
    CHECK(screen_text("\x9b\xff") == "\\x9b\\xff");
    CHECK(screen_text("\xc0\x80") == "\\xc0\\x80");           // too long for its code
    CHECK(screen_text("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate
    CHECK(screen_text("\xf4\x90\x80\x80").find('\xf4') == std::string::npos);
    CHECK(screen_text("a\xe2\x82") == "a\\xe2\\x82");  // broken off
  }

  TEST_CASE("columns are what the terminal gives, not bytes") {
    CHECK(columns_of("abc") == 3);
    CHECK(columns_of("Größe") == 5);
    CHECK(columns_of("磁盘") == 4);
    CHECK(columns_of("e\u0301") == 1);
    CHECK(columns_of("…█░") == 3);
    CHECK(columns_of("\xff\xff") == 2);
  }

  TEST_CASE("a text is cut to its columns, between letters") {
    CHECK(cut_end("Größe", 4) == "Größ");
    CHECK(cut_end("磁盘", 3) == "磁");
    CHECK(cut_end("abc", 9) == "abc");
    CHECK(cut_end("e\u0301x", 1) == "e\u0301");
    CHECK(cut_middle("server01:/dev/sda", 17) == "server01:/dev/sda");
    CHECK(cut_middle("server01:/dev/sda", 11) == "serve…v/sda");
    CHECK(cut_middle("abcdef", 1) == "…");
    CHECK(cut_middle("abcdef", 0) == "");
    for (std::size_t columns = 0; columns < 24; ++columns) {
      CHECK(columns_of(cut_middle("磁盘abcdüé磁盘ef磁盘", columns)) <= columns);
    }
  }

  TEST_CASE("a cell has exactly its columns") {
    CHECK(fit_left("ab", 4) == "ab  ");
    CHECK(fit_right("ab", 4) == "  ab");
    CHECK(fit_left("abcdef", 4) == "a…ef");
    for (std::size_t columns = 0; columns < 12; ++columns) {
      CHECK(columns_of(fit_left("磁盘磁盘", columns)) == columns);
      CHECK(columns_of(fit_right("磁盘磁盘", columns)) == columns);
    }
  }
}

}  // namespace diskdump
