#include "pipeline/manifest_room.hpp"

#include <doctest/doctest.h>

#include <limits>

namespace diskdump {

TEST_SUITE("manifest_room") {
  TEST_CASE("one target gets half of what is free, and not a byte more") {
    manifest_room room;
    CHECK(room.take(500, 1000));
    CHECK_FALSE(room.take(501, 1000));
    CHECK_FALSE(room.take(std::numeric_limits<std::uint64_t>::max(), 1000));
    CHECK(room.taken_bytes() == 0);
  }

  TEST_CASE("all together get what is free, until one of them goes") {
    manifest_room room;
    auto const first = room.take(400, 1000);
    {
      auto const second = room.take(400, 1000);
      REQUIRE(second);
      CHECK_FALSE(room.take(201, 1000));
      CHECK(room.take(200, 1000));
      CHECK(room.taken_bytes() == 800);
    }
    CHECK(room.taken_bytes() == 400);
    CHECK(room.take(201, 1000));
  }

  TEST_CASE("a disk that is fuller than what was given away has nothing left") {
    manifest_room room;
    auto const first = room.take(400, 1000);
    CHECK_FALSE(room.take(1, 300));
    CHECK(room.take(0, 300));
  }

  TEST_CASE("a part that is moved is given back once") {
    manifest_room room;
    manifest_room::part kept;
    {
      auto part = room.take(100, 1000);
      kept = std::move(part);
      CHECK(room.taken_bytes() == 100);
    }
    CHECK(room.taken_bytes() == 100);
    kept = room.take(50, 1000);
    CHECK(room.taken_bytes() == 50);
  }
}

}  // namespace diskdump
