#include "base/error.hpp"

#include <doctest/doctest.h>

#include <cerrno>

#include "base/log.hpp"

namespace diskdump {

namespace {
enum class sample_errc { first = 1 };
std::string_view sentence(sample_errc) { return "it went wrong"; }
char const* module_name(sample_errc) { return "sample"; }
}  // namespace

TEST_SUITE("error") {
  TEST_CASE("the text names host, path, offset, what happened, cause and remedy in this order") {
    auto const e = error(sample_errc::first, severity::permanent)
                       .host("server01")
                       .path("/dev/sda")
                       .offset(4096)
                       .cause("because")
                       .remedy("do this");
    CHECK(std::string(e.what()) ==
          "server01: /dev/sda: offset 4096: it went wrong: because (do this)");
    CHECK(e.code() == sample_errc::first);
  }

  TEST_CASE("what is not known is left out of the text") {
    CHECK(std::string(error(sample_errc::first, severity::permanent).what()) == "it went wrong");
  }

  TEST_CASE("a lost connection is transient, a missing file is permanent") {
    CHECK(errno_error(ECONNRESET, "read").kind() == severity::transient);
    CHECK(errno_error(ENOENT, "open").kind() == severity::permanent);
  }

  TEST_CASE("text from the other end cannot carry escape sequences") {
    CHECK(printable("a\x1b[2Jb\x9b") == "a\\x1b[2Jb\\x9b");
    CHECK(printable("abcdef", 3) == "abc…");
  }
}

}  // namespace diskdump
