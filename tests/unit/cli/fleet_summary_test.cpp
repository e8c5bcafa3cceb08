#include "cli/fleet_summary.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <stdexcept>

#include "cli/screen_text.hpp"
#include "test_fleet.hpp"

namespace diskdump {

namespace {

constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint32_t block = 128 << 10;

void finish(fleet_target& t, std::uint64_t image, std::uint64_t wire) {
  auto& p = t.progress;
  p.state = target_state::done;
  p.image_bytes = p.announced_bytes = image;
  p.bytes_wire = wire;
  p.blocks = block_count(image / block);
  p.blocks_stored = block_count(wire / block);
  p.blocks_reused = block_count((image - wire) / block);
  p.ended = p.started + std::chrono::seconds(2);
  t.manifest = "2026/04/24/" + t.manifest_name + ".manifest";
}

void fail(fleet_target& t, std::string const& why) {
  t.progress.state = target_state::failed;
  t.failure = std::make_exception_ptr(std::runtime_error(why));
}

std::vector<std::string> summary(std::vector<fleet_target> const& targets, fleet_watch const& watch,
                                 std::size_t columns = 0) {
  return plain(fleet_summary(
      targets, watch,
      {.block_bytes = block, .elapsed = std::chrono::seconds(4), .columns = columns}));
}

}  // namespace

TEST_SUITE("fleet summary") {
  TEST_CASE("failures first with their reasons, then what was done, then the sums") {
    test_clock clock;
    auto targets = test_fleet(4);
    fleet_watch watch(targets, clock);
    finish(targets[0], 300 * mib, 30 * mib);
    fail(targets[1], "no route");
    finish(targets[2], 100 * mib, 10 * mib);
    fail(targets[3], "cancelled");
    targets[3].interrupted = true;
    auto const lines = summary(targets, watch);
    REQUIRE(lines.size() == 8);
    CHECK(lines[0] == "failed  server1:/dev/sda: no route");
    CHECK(lines[1] == "interrupted  server3:/dev/sda");
    CHECK(lines[2] ==
          "                       image      sent  dedup   time      rate       new      saved");
    CHECK(lines[3] ==
          "server0:/dev/sda   300.0 MiB  30.0 MiB    90%  2.0 s  157 MB/s  30.0 MiB  270.0 MiB");
    CHECK(lines[5] ==
          "all that was done  400.0 MiB  40.0 MiB    90%  4.0 s  105 MB/s  40.0 MiB  360.0 MiB");
    CHECK(lines[6] == "4 targets: 2 done, 1 failed, 1 interrupted");
    CHECK(lines[7] ==
          "400.0 MiB in 4.0 s (105 MB/s); 360.0 MiB of it did not cross the wire (90%)");
  }

  TEST_CASE("attempts are a column where one target needed more than one") {
    test_clock clock;
    auto targets = test_fleet(2);
    fleet_watch watch(targets, clock);
    for (auto& t : targets) {
      watch.on_start(t);
      t.progress.attempts = 1;
      finish(t, 10 * mib, mib);
    }
    CHECK(summary(targets, watch)[0].find("tries") == std::string::npos);
    targets[1].progress.attempts = 3;
    auto const lines = summary(targets, watch);
    CHECK(lines[0].find("tries") != std::string::npos);
    CHECK(lines[2].find("    3  ") != std::string::npos);
    fail(targets[1], "gone");
    CHECK(summary(targets, watch)[0] == "failed  server1:/dev/sda: gone; after 3 attempts");
  }

  TEST_CASE("no line is wider than the terminal, and no reason is lost") {
    test_clock clock;
    auto targets = test_fleet(3);
    fleet_watch watch(targets, clock);
    targets[0].label = "backup@storage-frontend-07.example.org:/srv/images/database-master.img";
    finish(targets[0], 300'000 * mib, 30'000 * mib);
    targets[1].label = targets[0].label;
    std::string reason = "the other end gave up:";
    for (int i = 0; i < 30; ++i) reason += " word" + std::to_string(i);
    fail(targets[1], reason);
    fail(targets[2], "cancelled");
    targets[2].interrupted = true;
    for (std::size_t columns : {40, 60, 79, 100, 119, 159}) {
      CAPTURE(columns);
      std::string all;
      for (auto const& line : summary(targets, watch, columns)) {
        all += line + " ";
        // The sentence at the end may be broken by a narrow terminal.
        if (columns >= 79) CHECK(columns_of(line) <= columns);
      }
      for (int i = 0; i < 30; ++i) {
        CHECK(all.find("word" + std::to_string(i)) != std::string::npos);
      }
    }
    auto const lines = summary(targets, watch, 79);
    auto const row = std::find_if(lines.begin(), lines.end(), [](std::string const& line) {
      return line.find("293.0 GiB") != std::string::npos;
    });
    REQUIRE(row != lines.end());
    CHECK(row->find("…") != std::string::npos);
  }

  TEST_CASE("nothing done is said, without a division by it") {
    test_clock clock;
    auto targets = test_fleet(2);
    fleet_watch watch(targets, clock);
    for (auto& t : targets) fail(t, "no route");
    auto const lines = summary(targets, watch);
    REQUIRE(lines.size() == 3);
    CHECK(lines[2] == "2 targets: 0 done, 2 failed in 4.0 s");
    for (auto& t : targets) {
      t.failure = nullptr;
      finish(t, 0, 0);
      t.progress.ended = t.progress.started;
    }
    CHECK(summary(targets, watch).size() == 6);
  }

  TEST_CASE("a reason that names host and path is not prefixed with them again") {
    auto targets = test_fleet(1);
    fail(targets[0], "server0: /dev/sda: no medium");
    CHECK(failure_text(targets[0]) == "server0: /dev/sda: no medium");
    fail(targets[0], "server0: no route");
    CHECK(failure_text(targets[0]) == "server0:/dev/sda: no route");
    fail(targets[0], "bad \x1b[2J");
    CHECK(failure_text(targets[0]) == "server0:/dev/sda: bad \\x1b[2J");
  }

  TEST_CASE("a line beside the live view has the terminal's width") {
    auto targets = test_fleet(1);
    targets[0].label = std::string(100, 'x') + ":/y";
    finish(targets[0], 300 * mib, 30 * mib);
    auto const line = render(outcome_line(targets[0], 79), std::string::npos, false);
    CHECK(columns_of(line) == 79);
    CHECK(line.ends_with("xxx:/y: 300.0 MiB in 2.0 s, 30.0 MiB sent"));
  }
}

}  // namespace diskdump
