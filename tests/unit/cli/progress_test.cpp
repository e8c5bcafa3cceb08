#include "cli/progress.hpp"

#include <doctest/doctest.h>

#include "cli/text.hpp"

namespace diskdump {

TEST_SUITE("progress") {
  TEST_CASE("sizes, rates and times read as people write them") {
    CHECK(size_text(0) == "0 B");
    CHECK(size_text(1536) == "1.5 KiB");
    CHECK(size_text(std::uint64_t{20} << 30) == "20.0 GiB");
    CHECK(rate_text(162'000'000, std::chrono::seconds(1)) == "162 MB/s");
    CHECK(rate_text(1, std::chrono::seconds(0)) == "-");
    CHECK(time_text(std::chrono::milliseconds(3200)) == "3.2 s");
    CHECK(time_text(std::chrono::seconds(245)) == "4 m 05 s");
    CHECK(time_text(std::chrono::seconds(7260)) == "2 h 01 m");
  }

  TEST_CASE("targets that do not fit on the screen are summed") {
    std::vector<fleet_target> targets(100);
    clock_source::steady const start{};
    for (std::size_t i = 0; i < targets.size(); ++i) {
      targets[i].label = "host:/dev/sda";
      targets[i].progress.state = i < 50 ? target_state::dumping : target_state::queued;
      targets[i].progress.image_bytes = 1000;
      targets[i].progress.announced_bytes = 500;
      targets[i].progress.started = start;
    }
    auto const lines = fleet_lines(targets, start + std::chrono::seconds(1), 10);
    CHECK(lines.size() == 10);
    CHECK(lines[8] == "… and 42 more at work");
    CHECK(lines[9].find("0 of 100 targets done") != std::string::npos);
  }

  TEST_CASE("the total counts done and failed targets") {
    std::vector<fleet_target> targets(3);
    targets[0].progress.state = target_state::done;
    targets[1].progress.state = target_state::failed;
    auto const lines = fleet_lines(targets, {}, 24);
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("1 of 3 targets done, 1 failed") != std::string::npos);
  }
}

}  // namespace diskdump
