#include "base/units.hpp"

#include <doctest/doctest.h>

#include "base/clock.hpp"

namespace diskdump {

TEST_SUITE("units") {
  TEST_CASE("the last block of an image has the rest as its length") {
    block_geometry const g{.image_bytes = 10, .block_bytes = 4};
    CHECK(g.blocks().value == 3);
    CHECK(g.length_bytes({1}) == 4);
    CHECK(g.length_bytes({2}) == 2);
    CHECK(g.offset_bytes({2}) == 8);
  }
  TEST_CASE("an empty image has no block") {
    CHECK(block_geometry{.image_bytes = 0, .block_bytes = 4}.blocks().value == 0);
  }
  TEST_CASE("an image of whole blocks has no short one") {
    block_geometry const g{.image_bytes = 8, .block_bytes = 4};
    CHECK(g.blocks().value == 2);
    CHECK(g.length_bytes({1}) == 4);
  }
  TEST_CASE("dates are written in UTC") {
    clock_source::wall const t(std::chrono::seconds(1776996000));
    CHECK(iso_time(t) == "2026-04-24T02:00:00+00:00");
    CHECK(date_folder(t) == "2026/04/24");
  }
}

}  // namespace diskdump
