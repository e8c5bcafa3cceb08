#include "cli/values.hpp"

#include <doctest/doctest.h>

#include "cli/options.hpp"

namespace diskdump {

TEST_SUITE("values") {
  TEST_CASE("a date is UTC unless it says otherwise") {
    CHECK(iso_time(parse_moment("--date", "2026-04-24")) == "2026-04-24T00:00:00+00:00");
    CHECK(iso_time(parse_moment("--date", "2026-04-24T02:03:04")) == "2026-04-24T02:03:04+00:00");
    CHECK(iso_time(parse_moment("--date", "2026-04-24 02:03Z")) == "2026-04-24T02:03:00+00:00");
    CHECK(iso_time(parse_moment("--date", "2026-04-24T01:00:00+02:00")) ==
          "2026-04-23T23:00:00+00:00");
    CHECK(iso_time(parse_moment("--date", "1970-01-01")) == "1970-01-01T00:00:00+00:00");
    CHECK(iso_time(parse_moment("--date", "2261-12-31")) == "2261-12-31T00:00:00+00:00");
  }
  TEST_CASE("nonsense is no date") {
    for (auto const* bad : {"",
                            "yesterday",
                            "2026",
                            "2026-04",
                            "2026-4-24",
                            "24.04.2026",
                            "2026-02-30",
                            "2026-13-01",
                            "2026-04-24T",
                            "2026-04-24T25:00",
                            "2026-04-24T24:00",
                            "2026-04-24T02:60",
                            "2026-04-24T02:00:60",
                            "2026-04-24T02:00:00+15:00",
                            "2026-04-24T02:00:00+02:60",
                            "2026-04-24T02:00:00+2",
                            "2026-04-24x",
                            "1969-12-31",
                            "2262-01-01",
                            "9999-12-31",
                            "1970-01-01T00:00+01:00",
                            " 2026-04-24",
                            "2026-04-24 "}) {
      CAPTURE(bad);
      CHECK_THROWS_AS(static_cast<void>(parse_moment("--date", bad)), usage_error);
    }
  }
  TEST_CASE("the end of a day is its last second") {
    CHECK(iso_time(parse_moment_end("--until", "2026-04-24")) == "2026-04-24T23:59:59+00:00");
    CHECK(iso_time(parse_moment_end("--until", "2026-04-24T02:00")) == "2026-04-24T02:00:00+00:00");
  }
  TEST_CASE("a share is more than nothing and at most all") {
    CHECK(parse_percent("--sample", "5%") == 5);
    CHECK(parse_percent("--sample", "0.5") == 0.5);
    CHECK(parse_percent("--sample", "100%") == 100);
    for (auto const* bad : {"", "%", "0", "-1", "100.1", "5%%", "nan", "inf", "x", " 5"}) {
      CAPTURE(bad);
      CHECK_THROWS_AS(static_cast<void>(parse_percent("--sample", bad)), usage_error);
    }
  }
}

}  // namespace diskdump
