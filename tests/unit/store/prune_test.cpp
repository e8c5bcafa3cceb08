// Which manifests a policy keeps, and how the others go.
#include "store/prune.hpp"

#include "faulty_file_system.hpp"
#include "store/manifest_name.hpp"
#include "store/protection.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

// The verdicts on images of one name with these dates, oldest first, as "date: reason, reason".
std::vector<std::string> plan(std::vector<std::string> const& dates, prune_policy const& policy) {
  std::vector<prune_candidate> candidates;
  for (auto const& date : dates) candidates.push_back({"name", iso_seconds(date), false});
  std::vector<std::string> out;
  auto const verdicts = plan_prune(candidates, policy);
  for (std::size_t i = 0; i < dates.size(); ++i) {
    if (!verdicts[i].keep) {
      CHECK(verdicts[i].reasons.empty());
      continue;
    }
    auto text = dates[i] + ":";
    for (auto const& reason : verdicts[i].reasons) text += " " + reason;
    out.push_back(text);
  }
  return out;
}

using lines = std::vector<std::string>;

std::string publish_at(std::string const& base, std::string const& name, std::string const& date,
                       std::vector<std::uint64_t> const& numbers) {
  manifest_header header;
  header.date = date;
  header.geometry = {numbers.size() * 4096, 4096};
  manifest_writer writer(base, name, header);
  for (auto const number : numbers) writer.add(make_block(number).id);
  return writer.publish(clock_source::wall(std::chrono::seconds(*iso_seconds(date))));
}

prune_plan plan_all(std::string const& base, prune_policy const& policy) {
  work_monitor monitor;
  return make_prune_plan(base, [](std::string const&) { return true; }, policy, 2, monitor);
}

}  // namespace

TEST_SUITE("prune") {
  TEST_CASE("the newest N are kept") {
    CHECK(plan({"2026-01-01", "2026-01-02", "2026-01-03"}, {.last = 2}) ==
          lines{"2026-01-02: last", "2026-01-03: last"});
    CHECK(plan({"2026-01-01"}, {.last = 5}) == lines{"2026-01-01: last"});
    CHECK(plan({}, {.last = 5}).empty());
  }

  TEST_CASE("the newest of each UTC day is kept, and only days that have one count") {
    CHECK(plan({"2026-01-01T10:00", "2026-01-01T23:59:59", "2026-01-05T00:00", "2026-01-05T01:00"},
               {.daily = 2}) == lines{"2026-01-01T23:59:59: daily", "2026-01-05T01:00: daily"});
    // Half past midnight in Berlin is still the day before in UTC.
    CHECK(plan({"2026-01-01T12:00", "2026-01-02T00:30+01:00"}, {.daily = 5}) ==
          lines{"2026-01-02T00:30+01:00: daily"});
  }

  TEST_CASE("weeks begin on Monday, also over the turn of a year") {
    // 2026-01-04 is a Sunday.
    CHECK(plan({"2025-12-29", "2026-01-04", "2026-01-05"}, {.weekly = 5}) ==
          lines{"2026-01-04: weekly", "2026-01-05: weekly"});
    CHECK(plan({"1969-12-28", "1969-12-29", "1970-01-04", "1970-01-05"}, {.weekly = 9}) ==
          lines{"1969-12-28: weekly", "1970-01-04: weekly", "1970-01-05: weekly"});
  }

  TEST_CASE("months and years") {
    CHECK(plan({"2024-02-01", "2024-02-29", "2025-02-28", "2025-03-01"}, {.monthly = 2}) ==
          lines{"2025-02-28: monthly", "2025-03-01: monthly"});
    CHECK(plan({"2023-12-31", "2024-02-01", "2024-02-29", "2025-02-28"}, {.yearly = 2}) ==
          lines{"2024-02-29: yearly", "2025-02-28: yearly"});
  }

  TEST_CASE("one image may count for several rules") {
    CHECK(plan({"2026-03-30", "2026-03-31", "2026-04-01"},
               {.last = 1, .daily = 2, .monthly = 2, .yearly = 1}) ==
          lines{"2026-03-31: daily monthly", "2026-04-01: last daily monthly yearly"});
  }

  TEST_CASE("each name is judged by itself, and keeps at least its newest") {
    std::vector<prune_candidate> const candidates{{"a", iso_seconds("2020-01-01"), false},
                                                  {"a", iso_seconds("2021-01-01"), false},
                                                  {"b", iso_seconds("2026-01-01"), false},
                                                  {"c", iso_seconds("2019-01-01"), false}};
    for (auto const& policy :
         {prune_policy{.last = 1}, prune_policy{.daily = 1}, prune_policy{.weekly = 1},
          prune_policy{.monthly = 1}, prune_policy{.yearly = 1}}) {
      auto const verdicts = plan_prune(candidates, policy);
      CHECK_FALSE(verdicts[0].keep);
      CHECK(verdicts[1].keep);
      CHECK(verdicts[2].keep);
      CHECK(verdicts[3].keep);
    }
  }

  TEST_CASE("what is protected or has no date is kept and takes nothing from the rules") {
    std::vector<prune_candidate> const candidates{{"a", std::nullopt, false},
                                                  {"a", iso_seconds("2020-01-01"), true},
                                                  {"a", iso_seconds("2021-01-01"), false},
                                                  {"a", iso_seconds("2022-01-01"), false}};
    auto const verdicts = plan_prune(candidates, {.yearly = 1});
    for (auto const kept : {0U, 1U, 3U}) CHECK(verdicts[kept].keep);
    CHECK(verdicts[0].reasons == lines{"no date"});
    CHECK(verdicts[1].reasons == lines{"protected"});
    CHECK_FALSE(verdicts[2].keep);
    CHECK(verdicts[3].reasons == lines{"yearly"});
  }

  TEST_CASE("many images of one name") {
    std::vector<prune_candidate> candidates;
    for (std::int64_t day = 0; day < 3650; ++day) candidates.push_back({"a", day * 86400, false});
    auto const verdicts =
        plan_prune(candidates, {.last = 3, .daily = 7, .weekly = 4, .monthly = 12, .yearly = 100});
    CHECK(std::count_if(verdicts.begin(), verdicts.end(),
                        [](prune_verdict const& v) { return v.keep; }) == 7 + 2 + 11 + 9);
  }

  TEST_CASE("a manifest goes with the folders that it leaves empty, for good") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 4);
    auto const old = publish_at(base, "a", "2024-12-31T00:00:00Z", {0, 1});
    auto const kept = publish_at(base, "a", "2024-11-30T00:00:00Z", {2, 3});
    faulty_file_system files(base);
    CHECK(remove_manifest(files, old));
    CHECK_FALSE(std::filesystem::exists(base + "/2024/12"));
    CHECK(std::filesystem::exists(base + "/" + kept));
    CHECK_FALSE(remove_manifest(files, old));
    // What was removed and not synced would come back.
    files.cut_power(faulty_file_system::cut::undoes_changes);
    CHECK_FALSE(std::filesystem::exists(base + "/" + old));
    CHECK(remove_manifest(files, kept));
    CHECK_FALSE(std::filesystem::exists(base + "/2024"));
  }

  TEST_CASE("a manifest that was protected meanwhile stays") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 1);
    auto const path = publish_at(base, "a", "2024-12-31T00:00:00Z", {0});
    CHECK(protect_manifest(base, path));
    CHECK_FALSE(remove_manifest(*make_posix_file_system(base), path));
    CHECK(std::filesystem::exists(base + "/" + path));
  }

  TEST_CASE("a damaged manifest is named, and none is removed in its favour") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 4);
    auto const good = publish_at(base, "a", "2026-01-01T00:00:00Z", {0, 1});
    auto const bad = publish_at(base, "a", "2026-01-02T00:00:00Z", {2, 3});
    // The header is fine; only who reads to the end finds it.
    auto text = read_text(base + "/" + bad);
    text[text.size() - 2] = 'g';
    write_text(base + "/" + bad, text);
    auto const plan = plan_all(base, {.last = 1});
    REQUIRE(plan.damaged.size() == 1);
    CHECK(plan.damaged[0].path == bad);
    REQUIRE(plan.lines.size() == 1);
    CHECK(plan.lines[0].entry.path == good);
    CHECK(plan.lines[0].verdict.keep);
  }

  TEST_CASE("nothing is planned while manifests lie where nobody can look") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    auto const old = publish_at(folder.path(), "a", "2026-01-01T00:00:00Z", {0});
    publish_at(folder.path(), "a", "2026-01-02T00:00:00Z", {1});
    std::filesystem::create_symlink("/nowhere/2024", folder / "2024");
    auto const failure = thrown_by([&] { (void)plan_all(folder.path(), {.last = 1}); });
    CHECK(failure.code() == store_errc::cannot_read);
    CHECK(failure.path() == folder / "2024");
    CHECK(std::filesystem::exists(folder / old));
  }

  TEST_CASE("a dump whose folder is pruned away meanwhile makes it again") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 2);
    faulty_file_system files(base);
    manifest_header header;
    header.geometry = {8192, 4096};
    manifest_writer writer(base, "a", header, &files);
    writer.add(make_block(0).id);
    writer.add(make_block(1).id);
    bool pruned = false;
    files.before = [&](faulty_file_system::call call, std::string const& path) {
      if (call != faulty_file_system::call::rename || pruned) return;
      pruned = true;
      for (auto const* const empty : {"/2026/04/24", "/2026/04", "/2026"}) {
        std::filesystem::remove(base + empty);
      }
    };
    auto const path = writer.publish(clock_source::wall(std::chrono::seconds(1776996000)));
    CHECK(pruned);
    CHECK(path == "2026/04/24/a.manifest");
    CHECK(std::filesystem::exists(base + "/" + path));
  }
}

}  // namespace diskdump
