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
  TEST_CASE("rates take suffixes, and what is too slow to show life is refused") {
    auto const c = dump_of({"dump", "h:/x", "--read-limit", "20M", "--read-limit-total", "1G",
                            "--wire-limit", "500K", "--wire-limit-total", "123456"});
    CHECK(c.rates.read_per_target == 20 * limits::MiB);
    CHECK(c.rates.read_total == limits::GiB);
    CHECK(c.rates.wire_per_target == 500 * limits::KiB);
    CHECK(c.rates.wire_total == 123456);
    auto const none = dump_of({"dump", "h:/x"});
    CHECK(none.rates.read_per_target == 0);
    CHECK(none.rates.read_total == 0);
    CHECK(none.rates.wire_per_target == 0);
    CHECK(none.rates.wire_total == 0);
    for (auto const* option :
         {"--read-limit", "--read-limit-total", "--wire-limit", "--wire-limit-total"}) {
      for (auto const* bad : {"0", "", "x", "-1", "10%", "1T", "99999999999999999999"}) {
        CAPTURE(option);
        CAPTURE(bad);
        CHECK(refusal({"dump", "h:/x", option, bad}).find(option) != std::string::npos);
      }
    }
    // A block of 128 KiB in 15 s.
    CHECK(refusal({"dump", "h:/x", "--block-size", "128K", "--read-limit", "8738"}) != "");
    CHECK(refusal({"dump", "h:/x", "--block-size", "128K", "--read-limit", "8739"}) == "");
    // A shorter --timeout wants more.
    CHECK(refusal({"dump", "h:/x", "--block-size", "128K", "--read-limit", "8739", "--timeout",
                   "10"}) != "");
    // Together: for each of those that are at work.
    auto const total = [](char const* jobs, char const* rate) {
      return refusal({"dump", "h:/x", "h:/y", "h:/z", "-j", jobs, "--block-size", "128K",
                      "--wire-limit-total", rate});
    };
    CHECK(total("2", "17477") != "");
    CHECK(total("2", "17478") == "");
    CHECK(total("9", "17478") != "");
    CHECK(total("9", "26217") == "");
  }
  TEST_CASE("how much of a target a dump takes") {
    auto const c = dump_of({"dump", "h:/x", "--nice", "--agent-threads", "2"});
    CHECK(c.low_priority);
    CHECK(c.agent_threads_max == 2);
    auto const none = dump_of({"dump", "h:/x"});
    CHECK_FALSE(none.low_priority);
    CHECK(none.agent_threads_max == 0);
    for (auto const* bad : {"0", "65", "x", "-1"}) {
      CAPTURE(bad);
      CHECK(refusal({"dump", "h:/x", "--agent-threads", bad}) != "");
    }
  }
  TEST_CASE("commands around a dump: those of the target, else those for all") {
    auto const c = dump_of({"dump", "--pre", "a", "--post=b", "h:/x", "h:/y:/z", "--pre=c d",
                            "--post", "--e=f", "--sudo", "-j", "2"});
    REQUIRE(c.targets.size() == 3);
    CHECK(c.targets[0].pre == "a");
    CHECK(c.targets[0].post == "b");
    for (int i : {1, 2}) {
      CHECK(c.targets[static_cast<std::size_t>(i)].pre == "c d");
      CHECK(c.targets[static_cast<std::size_t>(i)].post == "--e=f");
      CHECK(c.targets[static_cast<std::size_t>(i)].sudo);
    }
    CHECK(c.targets_active_max == 2);
    auto const none = dump_of({"dump", "h:/x"});
    CHECK(none.targets[0].pre.empty());
    CHECK(none.targets[0].post.empty());
    std::string const longest(limits::target_command_bytes_max, 'x');
    CHECK(refusal({"dump", "h:/x", "--pre", longest}) == "");
    for (auto const& bad : {std::string(), std::string(" \n"), longest + "x"}) {
      CHECK(refusal({"dump", "h:/x", "--pre", bad}).starts_with("--pre"));
      CHECK(refusal({"dump", "--post", bad, "h:/x"}).starts_with("--post"));
    }
    CHECK(refusal({"dump", "h:/x", "--post"}).find("--post") != std::string::npos);
  }
  TEST_CASE("a password for sudo is asked for only where a target has sudo") {
    CHECK(dump_of({"dump", "--ask-sudo-password", "h:/x", "h:/y", "--sudo"}).ask_sudo_password);
    CHECK_FALSE(dump_of({"dump", "h:/x", "--sudo"}).ask_sudo_password);
    CHECK(refusal({"dump", "--ask-sudo-password", "h:/x"}) != "");
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
    for (auto const* verb :
         {"dump", "import", "restore", "list", "info", "status", "diff", "init", "protect",
          "unprotect", "prune", "gc", "verify", "reindex", "copy", "bench"}) {
      CHECK(help_of({verb, "--help"}).find("--help") != std::string::npos);
    }
    CHECK(help_of({"--help"}).find("dump") != std::string::npos);
    CHECK(help_of({"--version"}).find("diskdump") != std::string::npos);
  }
  TEST_CASE("init chooses a format and a block size") {
    auto const init_of = [](std::vector<std::string> a) {
      return std::get<init_arguments>(parse_command_line(std::move(a)).verb);
    };
    CHECK_FALSE(init_of({"init"}).format);
    CHECK_FALSE(init_of({"init"}).block_bytes);
    auto const pack = init_of({"init", "--format", "pack", "--block-size", "64K"});
    CHECK(pack.format == store_format::pack);
    CHECK(pack.block_bytes == 65536);
    CHECK(refusal({"init", "--format", "heap"}) != "");
    CHECK(refusal({"init", "--block-size", "1000"}) != "");
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
  TEST_CASE("bench takes stores of all kinds, and images that can be made") {
    auto const bench = std::get<bench_arguments>(parse_command_line({"bench",
                                                                     "--store",
                                                                     "loose:/a",
                                                                     "--store",
                                                                     "pack:b:c",
                                                                     "--store",
                                                                     "memory:",
                                                                     "--store",
                                                                     "null:",
                                                                     "--store",
                                                                     "null:nothing",
                                                                     "--size",
                                                                     "1000000",
                                                                     "--zeros",
                                                                     "0",
                                                                     "--dedup",
                                                                     "99.5%",
                                                                     "--compressibility",
                                                                     "0",
                                                                     "--targets",
                                                                     "3",
                                                                     "--seed",
                                                                     "7",
                                                                     "--html",
                                                                     "p",
                                                                     "--scratch",
                                                                     "/s"})
                                                     .verb);
    auto const& o = bench.bench;
    REQUIRE(o.stores.size() == 5);
    CHECK(o.stores[0].folder == "/a");
    CHECK(o.stores[1].backend == bench_backend_kind::pack);
    CHECK(o.stores[1].folder == "b:c");
    CHECK(o.stores[2].backend == bench_backend_kind::memory);
    CHECK(o.stores[3].null_keeps == null_memory::ids);
    CHECK(o.stores[4].null_keeps == null_memory::nothing);
    CHECK(o.work.image_bytes == 8 * limits::block_bytes_default);
    CHECK(o.work.dedup_percent == 99.5);
    CHECK(o.work.compressibility_percent == 0);
    CHECK(o.work.images == 3);
    CHECK(o.scratch == "/s");
    CHECK(bench.page == "p");
    for (auto const* bad : {"", "pack", "pack:", "null:x", "memory:/a", "zip:/a", ":", "/a"}) {
      CAPTURE(bad);
      CHECK(refusal({"bench", "--store", bad}).find("--store") != std::string::npos);
    }
    CHECK(refusal({"bench"}).find("--store") != std::string::npos);
    auto const with = [](std::vector<std::string> more) {
      more.insert(more.begin(), {"bench", "--store", "pack:/a"});
      return refusal(std::move(more));
    };
    CHECK(with({}) == "");
    for (auto const* inside : {"loose:/a", "loose:/a/", "loose:/a/b", "pack:/", "pack:/x/../a"}) {
      CAPTURE(inside);
      CHECK(with({"--store", inside}).find("within") != std::string::npos);
    }
    CHECK(with({"--store", "pack:/ab"}) == "");
    for (auto const* option : {"--zeros", "--dedup", "--compressibility"}) {
      for (auto const* bad : {"-1", "101", "x", "", "nan", "5%%"}) {
        CAPTURE(option);
        CAPTURE(bad);
        CHECK(with({option, bad}).find(option) != std::string::npos);
      }
    }
    CHECK(with({"--compressibility", "100"}) != "");
    CHECK(with({"--size", "0"}).find("--size") != std::string::npos);
    CHECK(with({"--size", "1024G", "--block-size", "4K"}).find("--block-size") !=
          std::string::npos);
    CHECK(with({"--targets", "0"}) != "");
    CHECK(with({"--targets", "65"}) != "");
    CHECK(with({"--batch-size", "0"}) != "");
    CHECK(with({"--batch-size", "65536", "--block-size", "16M"}).find("--batch-size") !=
          std::string::npos);
    CHECK(with({"--source", "/x", "--size", "1M"}).find("--source") != std::string::npos);
  }
  TEST_CASE("no verb but bench takes a store that keeps nothing") {
    CHECK(refusal({"init", "--format", "null"}) != "");
    CHECK(refusal({"dump", "h:/x", "--store", "null:"}) != "");
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
