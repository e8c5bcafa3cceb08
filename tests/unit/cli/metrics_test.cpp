#include "cli/metrics.hpp"

#include <doctest/doctest.h>

#include <set>
#include <sstream>
#include <stdexcept>

#include "test_fleet.hpp"

namespace diskdump {

namespace {

std::set<std::string> lines_of(std::string const& text) {
  std::set<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    // No sample stands twice: a collector refuses the whole file.
    CHECK(lines.insert(line).second);
  }
  return lines;
}

}  // namespace

TEST_SUITE("metrics") {
  TEST_CASE("each target has its samples, and the run has its sums") {
    test_clock clock;
    auto targets = test_fleet(2);
    fleet_watch watch(targets, clock);
    auto& p = targets[0].progress;
    watch.on_start(targets[0]);
    clock.time += std::chrono::milliseconds(1500);
    p.ended = p.started + std::chrono::milliseconds(1500);
    p.attempts = targets[1].progress.attempts = 1;
    p.image_bytes = 1000;
    p.bytes_wire = 100;
    p.blocks_stored = block_count(1);
    p.blocks_reused = block_count(2);
    p.blocks_zero = block_count(3);
    p.blocks_resumed = block_count(4);
    targets[0].manifest = "x";
    watch.on_end(targets[0]);
    targets[1].failure = std::make_exception_ptr(std::runtime_error("no"));
    watch.on_end(targets[1]);
    auto const lines = lines_of(metrics_text(targets, watch, clock.wall_now()));
    std::string const first = "{target=\"server0:/dev/sda\",name=\"server0-sda\"} ";
    std::string const second = "{target=\"server1:/dev/sda\",name=\"server1-sda\"} ";
    CHECK(lines.contains("diskdump_target_success" + first + "1"));
    CHECK(lines.contains("diskdump_target_success" + second + "0"));
    CHECK(lines.contains("diskdump_target_start_time_seconds" + first + "1776988800"));
    CHECK(lines.contains("diskdump_target_end_time_seconds" + first + "1776988801.500"));
    CHECK(lines.contains("diskdump_target_duration_seconds" + first + "1.500"));
    CHECK(lines.contains("diskdump_target_image_bytes" + first + "1000"));
    CHECK(lines.contains("diskdump_target_stored_blocks" + first + "1"));
    CHECK(lines.contains("diskdump_target_reused_blocks" + first + "2"));
    CHECK(lines.contains("diskdump_target_zero_blocks" + first + "3"));
    CHECK(lines.contains("diskdump_target_resumed_blocks" + first + "4"));
    CHECK(lines.contains("diskdump_target_wire_bytes" + first + "100"));
    CHECK(lines.contains("diskdump_target_attempts" + first + "1"));
    CHECK(lines.contains("diskdump_target_attempts" + second + "0"));
    CHECK(lines.contains("# TYPE diskdump_target_success gauge"));
    CHECK(lines.contains("diskdump_success 0"));
    CHECK(lines.contains("diskdump_targets 2"));
    CHECK(lines.contains("diskdump_targets_failed 1"));
    CHECK(lines.contains("diskdump_saved_bytes 900"));
    CHECK(lines.contains("diskdump_duration_seconds 1.500"));
    // A target that never began has no times, and nothing is ever NaN.
    for (auto const& line : lines) {
      CHECK_FALSE(line.starts_with("diskdump_target_start_time_seconds" + second));
      CHECK_FALSE(line.starts_with("diskdump_target_end_time_seconds" + second));
      CHECK(line.find("nan") == std::string::npos);
    }
  }

  TEST_CASE("labels are escaped, and the same target twice is told apart") {
    test_clock clock;
    auto targets = test_fleet(2);
    for (auto& t : targets) {
      t.label = "h:/a\"b\\c\nd\xff";
      t.manifest_name = "n";
    }
    fleet_watch watch(targets, clock);
    auto const lines = lines_of(metrics_text(targets, watch, clock.wall_now()));
    CHECK(lines.contains(R"(diskdump_target_success{target="h:/a\"b\\c d\\xff",name="n"} 0)"));
    CHECK(lines.contains(
        R"(diskdump_target_success{target="h:/a\"b\\c d\\xff",name="n",occurrence="2"} 0)"));
  }
}

}  // namespace diskdump
