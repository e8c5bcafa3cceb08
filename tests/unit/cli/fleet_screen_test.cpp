#include "cli/fleet_screen.hpp"

#include <doctest/doctest.h>

#include "cli/screen_text.hpp"
#include "cli/text.hpp"
#include "test_fleet.hpp"

namespace diskdump {

namespace {

constexpr std::uint64_t gib = 1ULL << 30;

target_picture dumping(std::string label) {
  target_picture t;
  t.label = std::move(label);
  t.state = target_state::dumping;
  t.attempt = 1;
  t.figures = {.bytes_done = 5 * gib,
               .bytes_total = 20 * gib,
               .bytes_wire = gib,
               .read_rate = 310e6,
               .wire_rate = 45e6,
               .dedup_percent = 87,
               .left = std::chrono::seconds(312)};
  return t;
}

fleet_picture picture_of(std::size_t active, std::string const& label = "server01:/dev/sda") {
  fleet_picture p;
  for (std::size_t i = 0; i < active; ++i) p.active.push_back(dumping(label));
  p.label_columns = columns_of(label);
  p.targets = 100;
  p.queued = 40;
  p.done = 50;
  p.failed = 2;
  p.estimated = true;
  p.total = p.active.empty() ? work_figures{} : p.active.front().figures;
  return p;
}

}  // namespace

TEST_SUITE("fleet screen") {
  TEST_CASE("sizes, rates and times read as people write them") {
    CHECK(size_text(0) == "0 B");
    CHECK(size_text(1536) == "1.5 KiB");
    CHECK(size_text(20 * gib) == "20.0 GiB");
    CHECK(rate_text(162'000'000, std::chrono::seconds(1)) == "162 MB/s");
    CHECK(rate_text(1, std::chrono::seconds(0)) == "-");
    CHECK(rate_text(3.24e6) == "3.2 MB/s");
    CHECK(rate_text(45'300.0) == "45 kB/s");
    CHECK(rate_text(9999e6) == "9999 MB/s");
    CHECK(rate_text(12.3e9) == "12.3 GB/s");
    CHECK(time_text(std::chrono::milliseconds(3200)) == "3.2 s");
    CHECK(time_text(std::chrono::seconds(245)) == "4 m 05 s");
    CHECK(time_text(std::chrono::seconds(7260)) == "2 h 01 m");
    CHECK(left_text(std::chrono::milliseconds(11600)) == "12 s");
    CHECK(left_text(std::chrono::hours(76)) == "76 h 00 m");
    CHECK(left_text(std::chrono::hours(101)) == "4 d 05 h");
    CHECK(left_text(std::chrono::duration<double>(1e300)) == "11574 d");
  }

  TEST_CASE("a bar has its width, and is full only at the end") {
    CHECK(bar(0, 4) == "░░░░");
    CHECK(bar(1, 4) == "████");
    CHECK(bar(0.5, 4) == "██░░");
    CHECK(bar(0.4, 4) == "█▌░░");
    CHECK(percent_of(999, 1000) == 99);
    CHECK(percent_of(0, 0) == 100);
    CHECK(percent_of((1ULL << 60) - 1, 1ULL << 60) == 99);
  }

  TEST_CASE("at 80 columns: label, bar, share, rates as far as they fit, what is left") {
    auto const lines = plain(fleet_screen(picture_of(1), 79, 23));
    REQUIRE(lines.size() == 4);
    CHECK(lines[0] ==
          "                                              read       sent  dedup       left");
    CHECK(lines[1] ==
          "server01:/dev/sda     ██▌░░░░░░░░   25%   310 MB/s    45 MB/s    87%   5 m 12 s");
    CHECK(lines[2] ==
          "100 targets           ██▌░░░░░░░░   25%   310 MB/s    45 MB/s    87%   5 m 12 s");
    CHECK(lines[3] ==
          "1 at work, 40 queued, 50 done, 2 failed; 5.0 GiB of ~20.0 GiB, 1.0 GiB sent");
  }

  TEST_CASE("a long label is cut in its middle, and the columns stay") {
    auto const label = "backup@storage-frontend-07.example.org:/srv/images/database-master.img";
    auto const lines = plain(fleet_screen(picture_of(1, label), 79, 23));
    CHECK(lines[1].starts_with("backup@storage"));
    CHECK(lines[1].find("…") != std::string::npos);
    CHECK(lines[1].find("r.img  ") != std::string::npos);
    CHECK(lines[1].ends_with("5 m 12 s"));
    auto const wide = plain(fleet_screen(picture_of(1, label), 159, 50));
    CHECK(wide[1].find("5.0 GiB of 20.0 GiB") != std::string::npos);
    CHECK(columns_of(wide[1]) <= 159);
  }

  TEST_CASE("no size loses its end, however many targets are counted beside it") {
    auto p = picture_of(32);
    p.total.bytes_done = 5 * gib + gib / 2;
    std::string const counts = "32 at work, 40 queued, 50 done, 2 failed";
    std::string const sizes = counts + "; 5.5 GiB of ~20.0 GiB";
    std::string const all = sizes + ", 1.0 GiB sent";
    for (auto columns = columns_of(counts); columns < 100; ++columns) {
      auto const line = plain(fleet_screen(p, columns, 23), columns).back();
      CAPTURE(columns);
      CHECK(line == (columns >= columns_of(all)                         ? all
                     : columns >= columns_of(sizes)                     ? sizes
                     : columns >= columns_of(counts + ", 1.0 GiB sent") ? counts + ", 1.0 GiB sent"
                                                                        : counts));
    }
  }

  TEST_CASE("a wider terminal shows sizes, too") {
    auto const lines = plain(fleet_screen(picture_of(2), 119, 30));
    CHECK(lines[1].find("5.0 GiB of 20.0 GiB") != std::string::npos);
    CHECK(lines[3].find("5.0 GiB of ~20.0 GiB") != std::string::npos);
    CHECK(lines[0].find("image") != std::string::npos);
  }

  TEST_CASE("no line is wider than the screen, no frame higher, whatever there is to say") {
    auto p = picture_of(30, "磁盘server-with-a-long-name.example.org:/dev/disk/by-id/ata-磁盘");
    p.active[3].state = target_state::retrying;
    p.active[3].retry_in = std::chrono::seconds(70);
    p.active[3].attempts_max = 5;
    p.active[4].state = target_state::connecting;
    p.active[4].figures = {};
    p.active[5].state = target_state::sealing;
    for (std::size_t columns = 1; columns < 200; ++columns) {
      for (std::size_t rows = 1; rows < 40; rows += columns % 7 + 1) {
        CAPTURE(columns);
        CAPTURE(rows);
        auto const lines = plain(fleet_screen(p, columns, rows), columns);
        CHECK(lines.size() <= rows);
        for (auto const& line : lines) CHECK(columns_of(line) <= columns);
      }
    }
  }

  TEST_CASE("from 80 columns on share, rate and forecast are always there") {
    for (std::size_t columns = 79; columns < 200; ++columns) {
      auto const lines = plain(fleet_screen(picture_of(1), columns, 23), columns);
      CAPTURE(lines[1]);
      CHECK(lines[1].find("25%") != std::string::npos);
      CHECK(lines[1].find("310 MB/s") != std::string::npos);
      CHECK(lines[1].ends_with("5 m 12 s"));
      // In columns over the targets and the total.
      CHECK(columns_of(lines[1]) == columns_of(lines[2]));
    }
  }

  TEST_CASE("targets that do not fit are summed") {
    auto const lines = plain(fleet_screen(picture_of(30), 79, 23));
    REQUIRE(lines.size() == 23);
    CHECK(lines[20] == "… and 11 more at work: 3410 MB/s");
    CHECK(lines[21].starts_with("100 targets"));
    CHECK(plain(fleet_screen(picture_of(20), 79, 23)).size() == 23);
    CHECK(plain(fleet_screen(picture_of(20), 79, 23))[20].starts_with("server01"));
  }

  TEST_CASE("a target that is not reading says what it does") {
    auto p = picture_of(3);
    p.active[0].state = target_state::connecting;
    p.active[0].figures = {};
    p.active[1].state = target_state::retrying;
    p.active[1].attempt = 2;
    p.active[1].attempts_max = 5;
    p.active[1].retry_in = std::chrono::seconds(8);
    p.active[2].state = target_state::sealing;
    p.active[2].figures.bytes_done = p.active[2].figures.bytes_total;
    auto const lines = plain(fleet_screen(p, 119, 23));
    CHECK(lines[1] == "server01:/dev/sda     connecting");
    CHECK(lines[2].find("25%  waiting to try again in 8 s, attempt 2 of 5") != std::string::npos);
    CHECK(lines[3].find("█  100%  making durable") != std::string::npos);
    CHECK(lines[3].find("░") == std::string::npos);
  }

  TEST_CASE("one target needs no total") {
    auto p = picture_of(1);
    p.targets = 1;
    auto const lines = plain(fleet_screen(p, 79, 23));
    REQUIRE(lines.size() == 2);
    CHECK(lines[1].starts_with("server01:/dev/sda"));
    CHECK(plain(fleet_screen(p, 79, 1)).size() == 1);
  }

  TEST_CASE("colours take no columns and are left out where they are not wanted") {
    screen_line const line{{"12 "}, {"failed", ink::bad}, {" of 20"}};
    CHECK(render(line, 80, false) == "12 failed of 20");
    CHECK(render(line, 80, true) == "12 \x1b[31mfailed\x1b[0m of 20");
    CHECK(render(line, 5, true) == "12 \x1b[31mfa\x1b[0m");
    CHECK(render(line, 3, true) == "12 ");
  }

  TEST_CASE("the line of a log says the same in words") {
    auto p = picture_of(2);
    CHECK(fleet_status(p) ==
          "50 of 100 targets done, 2 failed, 2 at work, 40 queued; 5.0 GiB of ~20.0 GiB (25%), "
          "310 MB/s, dedup 87%, 1.0 GiB sent, 5 m 12 s left");
    p = {};
    p.targets = 3;
    CHECK(fleet_status(p) == "0 of 3 targets done, 0 at work, 0 B sent");
  }
}

}  // namespace diskdump
