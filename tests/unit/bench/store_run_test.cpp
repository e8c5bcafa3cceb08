#include "bench/store_run.hpp"

#include <doctest/doctest.h>

namespace diskdump {

TEST_SUITE("store_run") {
  TEST_CASE("a dump that counts other blocks than were made is found out") {
    bench_images::expectation const made{.zeros = 80, .data = 320, .fresh = 240, .abandoned = 0};
    phase_report found;
    found.blocks_zero = 80;
    found.blocks_stored = 240;
    found.blocks_reused = 80;
    CHECK(count_difference(made, found) == "");
    for (auto* const counter : {&found.blocks_zero, &found.blocks_stored, &found.blocks_reused}) {
      ++*counter;
      CHECK(count_difference(made, found).find(std::to_string(*counter)) != std::string::npos);
      *counter -= 2;
      CHECK(count_difference(made, found).find("instead of 80, 240 and 80") != std::string::npos);
      ++*counter;
    }
  }
}

}  // namespace diskdump
