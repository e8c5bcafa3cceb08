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
    for (auto const* verb : {"dump", "import", "restore", "list", "info", "status", "diff",
                             "protect", "unprotect", "prune", "gc", "verify", "reindex"}) {
      CHECK(help_of({verb, "--help"}).find("--help") != std::string::npos);
    }
    CHECK(help_of({"--help"}).find("dump") != std::string::npos);
    CHECK(help_of({"--version"}).find("diskdump") != std::string::npos);
  }
  TEST_CASE("an import is a dump of this machine under another's name") {
    auto const import_of = [](std::vector<std::string> a) {
      return std::get<import_arguments>(parse_command_line(std::move(a)).verb).dump;
    };
    auto const d = import_of({"import", "x.img", "--as", "server01", "--date", "2024-12-31"});
    REQUIRE(d.targets.size() == 1);
    auto const& t = d.targets.front();
    CHECK(t.host == "localhost");
    CHECK(t.path.starts_with('/'));
    CHECK(t.path.ends_with("/x.img"));
    CHECK(t.label == "x.img");
    CHECK(t.source == "server01:/dev/sda");
    CHECK(t.manifest_name == "server01-sda");
    REQUIRE(t.date.has_value());
    CHECK(iso_time(*t.date) == "2024-12-31T00:00:00+00:00");
    CHECK(import_of({"import", "/a:b", "--as", "s:/dev/vg/root"}).targets[0].manifest_name ==
          "s-vg.root");
    CHECK(import_of({"import", "/x", "--as", "s:sdb"}).targets[0].source == "s:/dev/sdb");
    CHECK(import_of({"import", "/x", "--as", "s", "--block-size", "1M"}).block_bytes == 1048576);
    CHECK_FALSE(import_of({"import", "/x", "--as", "s"}).targets[0].date);
    for (auto const& bad : std::vector<std::vector<std::string>>{
             {"import"},
             {"import", "x"},
             {"import", "", "--as", "s"},
             {"import", "x", "--as", ""},
             {"import", "x", "--as", "s:"},
             {"import", "x", "--as", "u@s:/x"},
             {"import", "x", "--as", "s:/x:/y"},
             {"import", "x", "--as", "s/../t:/y"},
             {"import", "x", "y", "--as", "s"},
             {"import", "x", "--as", "s", "--date", "2024-02-30"}}) {
      CAPTURE(bad.size());
      CHECK(refusal(bad) != "");
    }
  }
  TEST_CASE("a prune needs a rule that keeps something") {
    auto const prune_of = [](std::vector<std::string> a) {
      return std::get<prune_arguments>(parse_command_line(std::move(a)).verb);
    };
    auto const p = prune_of(
        {"prune", "web*", "db", "--keep-last", "3", "--keep-yearly=2", "--dry-run", "--no-gc"});
    CHECK(p.names == std::vector<std::string>{"web*", "db"});
    CHECK(p.policy.last == 3);
    CHECK(p.policy.daily == 0);
    CHECK(p.policy.yearly == 2);
    CHECK(p.dry_run);
    CHECK_FALSE(p.collect);
    CHECK(prune_of({"prune", "--keep-daily", "7", "--wait"}).collect);
    CHECK(refusal({"prune"}).find("--keep-last") != std::string::npos);
    CHECK(refusal({"prune", "--keep-last", "0", "--keep-daily", "0"}).find("nothing") !=
          std::string::npos);
    for (auto const* bad : {"-1", "x", "1.5", "", "99999999999999999999"}) {
      CAPTURE(bad);
      CHECK(refusal({"prune", "--keep-last", bad}) != "");
    }
  }
  TEST_CASE("verbs of the store take what their help says") {
    auto const list = std::get<list_arguments>(
        parse_command_line({"list", "a*", "b", "--since", "2026-01-01", "--until", "2026-01-31"})
            .verb);
    CHECK(list.names == std::vector<std::string>{"a*", "b"});
    CHECK(iso_time(*list.until) == "2026-01-31T23:59:59+00:00");
    CHECK(refusal({"list", "--since", "yesterday"}).find("--since") != std::string::npos);
    auto const diff = std::get<diff_arguments>(parse_command_line({"diff", "a~1", "a"}).verb);
    CHECK(diff.before == "a~1");
    CHECK(diff.after == "a");
    CHECK(refusal({"diff", "a"}) != "");
    CHECK(refusal({"info"}) != "");
    CHECK(refusal({"status", "x"}) != "");
    CHECK(std::get<protect_arguments>(parse_command_line({"protect", "a@2026"}).verb).protect);
    CHECK_FALSE(std::get<protect_arguments>(parse_command_line({"unprotect", "a"}).verb).protect);
    auto const verify = std::get<verify_arguments>(
        parse_command_line({"verify", "--sample", "5%", "--no-repair"}).verb);
    CHECK(verify.sample_percent == 5);
    CHECK_FALSE(verify.repair);
    CHECK(refusal({"verify", "--sample", "0%"}) != "");
    CHECK(refusal({"verify", "--sample", "5%", "--manifest", "a"}) != "");
    CHECK(std::get<gc_arguments>(parse_command_line({"gc", "--wait"}).verb).wait);
    CHECK(std::get<reindex_arguments>(parse_command_line({"reindex", "--quick"}).verb).quick);
  }
  TEST_CASE("a host may be called like a verb's pattern, and a verb like no host") {
    CHECK(dump_of({"list:/dev/sda"}).targets[0].host == "list");
    CHECK(dump_of({"gc:/x", "--as", "y"}).targets[0].manifest_name == "y");
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
