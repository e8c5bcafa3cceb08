#include "cli/options.hpp"

#include <doctest/doctest.h>

#include "base/limits.hpp"

namespace diskdump {

namespace {
dump_arguments dump_of(std::vector<std::string> a) {
  return std::get<dump_arguments>(parse_command_line(std::move(a)).verb);
}
std::string help_of(std::vector<std::string> a) {
  return std::get<help_arguments>(parse_command_line(std::move(a)).verb).text;
}
std::string refusal(std::vector<std::string> a) {
  try {
    static_cast<void>(parse_command_line(std::move(a)));
  } catch (usage_error const& e) {
    return e.what();
  }
  return "";
}
}  // namespace

TEST_SUITE("options") {
  TEST_CASE("a target without a verb is a dump") {
    auto const c = dump_of({"-u", "root", "server01:/dev/sda", "--sudo"});
    REQUIRE(c.targets.size() == 1);
    auto const& t = c.targets.front();
    CHECK(t.host == "server01");
    CHECK(t.sudo);
    CHECK(t.ssh.user == "root");
    CHECK(t.manifest_name == "server01-sda");
  }
  TEST_CASE("global options stand before or after the verb") {
    for (auto const& a : std::vector<std::vector<std::string>>{
             {"--base", "/b", "--json", "dump", "h:/x"}, {"dump", "h:/x", "--json", "--base=/b"}}) {
      auto const c = parse_command_line(a);
      CHECK(c.global.base == "/b");
      CHECK(c.global.json);
      CHECK(std::get<dump_arguments>(c.verb).targets.size() == 1);
    }
  }
  TEST_CASE("several targets, several paths, each with its own name") {
    auto const c = dump_of({"dump", "a:/x:/y", "joe@b:sda", "--as", "bee", "-p", "2222"});
    REQUIRE(c.targets.size() == 3);
    CHECK(c.targets[0].manifest_name == "a-x");
    CHECK(c.targets[1].path == "/y");
    CHECK(c.targets[2].manifest_name == "bee");
    CHECK(c.targets[2].ssh.user == "joe");
    CHECK(c.targets[2].ssh.port == 2222);
  }
  TEST_CASE("defaults are those of the original") {
    auto const c = dump_of({"dump", "h:/x"});
    CHECK(c.batch_blocks == 80);
    CHECK_FALSE(c.block_bytes);
    CHECK(c.targets_active_max == limits::targets_active_default);
  }
  TEST_CASE("sizes take suffixes and are checked") {
    CHECK(dump_of({"dump", "h:/x", "--block-size", "1M"}).block_bytes == 1048576);
    for (auto const* bad :
         {"0", "1", "4095", "5000", "17M", "1T", "-4096", "99999999999999999999", ""}) {
      CAPTURE(bad);
      CHECK(refusal({"dump", "h:/x", "--block-size", bad}) != "");
    }
    for (auto const* bad : {"0", "65537", "x", "99999999999999999999"}) {
      CAPTURE(bad);
      CHECK(refusal({"dump", "h:/x", "--batch-size", bad}).find("--batch-size") !=
            std::string::npos);
    }
    CHECK(refusal({"dump", "h:/x", "--block-size", "16M", "--batch-size", "65536"}) != "");
  }
  TEST_CASE("a name that would leave its folder is refused") {
    for (auto const* bad : {"../../x", "a/b", "..", ".hidden", ""}) {
      CAPTURE(bad);
      CHECK(refusal({"dump", "h:/x", "--as", bad}) != "");
    }
  }
  TEST_CASE("restore needs a manifest; - is stdout") {
    CHECK(refusal({"restore"}) != "");
    auto const restore_of = [](std::vector<std::string> a) {
      return std::get<restore_arguments>(parse_command_line(std::move(a)).verb);
    };
    auto const c = restore_of({"restore", "server01-sda~1", "-o", "-"});
    CHECK(c.manifest == "server01-sda~1");
    CHECK_FALSE(c.output);
    CHECK(restore_of({"restore", "x", "-o", "y.img"}).output == "y.img");
  }
  TEST_CASE("every verb has its help") {
    for (auto const* verb : {"dump", "restore", "list"}) {
      CHECK(help_of({verb, "--help"}).find("--help") != std::string::npos);
    }
    CHECK(help_of({"--help"}).find("dump") != std::string::npos);
    CHECK(help_of({"--version"}).find("diskdump") != std::string::npos);
  }
  TEST_CASE("nonsense is wrong usage") {
    CHECK(refusal({}) != "");
    CHECK(refusal({"frobnicate"}) != "");
    CHECK(refusal({"dump"}) != "");
    CHECK(refusal({"dump", "h:/x", "--wire", "zstd"}) != "");
    CHECK(refusal({"dump", "h:/x", "--no-such-option"}) != "");
    CHECK(refusal({"dump", "h:/x", "-p", "0"}) != "");
  }
}

}  // namespace diskdump
