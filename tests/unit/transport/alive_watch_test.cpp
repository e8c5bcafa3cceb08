#include "transport/alive_watch.hpp"

#include <doctest/doctest.h>

namespace diskdump {

TEST_SUITE("alive_watch") {
  using action = alive_watch::action;

  TEST_CASE("who talks is not asked") {
    alive_watch watch;
    for (std::uint64_t arrivals = 1; arrivals < 100; ++arrivals) {
      CHECK(watch.tick(arrivals, true) == action::wait);
    }
  }

  TEST_CASE("a silent one is asked so many times, then given up") {
    alive_watch watch;
    CHECK(watch.tick(5, true) == action::wait);
    for (int i = 0; i < limits::alive_probes_max; ++i) CHECK(watch.tick(5, true) == action::ask);
    CHECK(watch.tick(5, true) == action::give_up);
  }

  TEST_CASE("any answer begins the count anew") {
    alive_watch watch;
    for (int round = 0; round < 3; ++round) {
      CHECK(watch.tick(static_cast<std::uint64_t>(round + 1), true) == action::wait);
      for (int i = 0; i < limits::alive_probes_max; ++i) {
        CHECK(watch.tick(static_cast<std::uint64_t>(round + 1), true) == action::ask);
      }
    }
  }

  TEST_CASE("who does not listen judges nobody") {
    alive_watch watch;
    CHECK(watch.tick(5, true) == action::wait);
    for (int i = 0; i < 100; ++i) CHECK(watch.tick(5, false) == action::wait);
    for (int i = 0; i < limits::alive_probes_max; ++i) CHECK(watch.tick(5, true) == action::ask);
    CHECK(watch.tick(5, false) == action::wait);
    CHECK(watch.tick(5, true) == action::ask);
  }
}

}  // namespace diskdump
