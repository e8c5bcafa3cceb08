#include "cli/target_args.hpp"

#include <doctest/doctest.h>

#include "cli/options.hpp"

namespace diskdump {

namespace {
bool takes_value(std::string_view o) { return o == "-u"; }
split_arguments split(std::vector<std::string> const& a) {
  return split_target_arguments(a, takes_value);
}
}  // namespace

TEST_SUITE("target arguments") {
  TEST_CASE("a target is a user, a host and its paths") {
    auto const t = parse_target("root@server01:/dev/sda:/srv/a b.img");
    CHECK(t.user == "root");
    CHECK(t.host == "server01");
    CHECK(t.paths == std::vector<std::string>{"/dev/sda", "/srv/a b.img"});
  }
  TEST_CASE("bare device names mean /dev") {
    CHECK(parse_target("h:sda:vdb1:nvme0n1").paths ==
          std::vector<std::string>{"/dev/sda", "/dev/vdb1", "/dev/nvme0n1"});
    CHECK(parse_target("h:data.img").paths.front() == "data.img");
    CHECK(parse_target("h:sd/x").paths.front() == "sd/x");
  }
  TEST_CASE("an IPv6 host stands in brackets") {
    auto const t = parse_target("me@[fe80::1]:/x");
    CHECK(t.host == "fe80::1");
    CHECK(t.paths.front() == "/x");
    CHECK_THROWS_AS(static_cast<void>(parse_target("[::1:/x")), usage_error);
    CHECK_THROWS_AS(static_cast<void>(parse_target("[::1]")), usage_error);
  }
  TEST_CASE("a colon in a path is escaped") {
    CHECK(parse_target("h:/a\\:b:/c\\\\d").paths == std::vector<std::string>{"/a:b", "/c\\d"});
  }
  TEST_CASE("quotes and dollars are part of the path") {
    CHECK(parse_target("h:/a'b\"$(touch x)").paths.front() == "/a'b\"$(touch x)");
  }
  TEST_CASE("what is not a target is refused") {
    for (auto const* bad : {"host", "host:", ":/x", "@h:/x", "h:/a::/b", "-oProxyCommand=x:/y",
                            "u@-h:/x", "-u@h:/x"}) {
      CAPTURE(bad);
      CHECK_THROWS_AS(static_cast<void>(parse_target(bad)), usage_error);
    }
  }
  TEST_CASE("flags apply to the target before them") {
    auto const s =
        split({"a:/x", "--sudo", "--as", "first", "b:/y", "-u", "joe", "c:/z", "--as=third"});
    REQUIRE(s.targets.size() == 3);
    CHECK(s.targets[0].sudo);
    CHECK(s.targets[0].name == "first");
    CHECK_FALSE(s.targets[1].sudo);
    CHECK(s.targets[1].name.empty());
    CHECK(s.targets[2].name == "third");
    CHECK(s.options == std::vector<std::string>{"-u", "joe"});
  }
  TEST_CASE("a flag before any target is an error") {
    CHECK_THROWS_AS(split({"--sudo", "a:/x"}), usage_error);
    CHECK_THROWS_AS(split({"--as", "n", "a:/x"}), usage_error);
    CHECK_THROWS_AS(split({"a:/x", "--as"}), usage_error);
  }
}

}  // namespace diskdump
