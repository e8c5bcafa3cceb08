#include "pipeline/claim_pace.hpp"

#include <doctest/doctest.h>

namespace diskdump {

namespace {

using std::chrono::seconds;

constexpr auto window = limits::claim_pace_window;
// Of so many, a third is due in a window.
constexpr std::uint64_t owed = 300;
constexpr std::uint64_t due = owed * window.count() / limits::claim_hold_max.count();

}  // namespace

TEST_SUITE("claim_pace") {
  TEST_CASE("who sends as much as is due is fast enough, and one block less is too slow") {
    claim_pace fast, slow;
    fast.look(seconds(0), 0, owed);
    slow.look(seconds(0), 0, owed);
    fast.look(window, due, owed);
    slow.look(window, due - 1, owed);
    CHECK_FALSE(fast.too_slow());
    CHECK(slow.too_slow());
  }

  TEST_CASE("nothing is judged before a window is over, and then until the next one is") {
    claim_pace pace;
    pace.look(seconds(5), 7, owed);
    pace.look(seconds(5) + window - seconds(1), 7, owed);
    CHECK_FALSE(pace.too_slow());
    pace.look(seconds(5) + window, 7, owed);
    CHECK(pace.too_slow());
    pace.look(seconds(5) + 2 * window - seconds(1), 7 + due, owed);
    CHECK(pace.too_slow());
    pace.look(seconds(5) + 2 * window, 7 + due, owed);
    CHECK_FALSE(pace.too_slow());
  }

  TEST_CASE("a window begins when something is owed, and owing nothing ends it") {
    claim_pace pace;
    pace.look(seconds(0), 0, 0);
    pace.look(seconds(100), 0, owed);  // asked just now
    CHECK_FALSE(pace.too_slow());
    pace.look(seconds(100) + window, 0, owed);
    CHECK(pace.too_slow());
    pace.look(seconds(101) + window, owed, 0);
    CHECK_FALSE(pace.too_slow());
  }

  TEST_CASE("time for which nobody listened does not count") {
    claim_pace pace;
    pace.look(seconds(0), 0, owed);
    for (int look = 0; look < 100; ++look) pace.look(seconds(1), 0, owed);
    CHECK_FALSE(pace.too_slow());
  }

  TEST_CASE("a time in which less than a block is due is too short to judge by") {
    claim_pace pace;
    pace.look(seconds(0), 0, 1);
    pace.look(window, 0, 1);
    CHECK_FALSE(pace.too_slow());
    pace.look(limits::claim_hold_max, 0, 1);
    CHECK(pace.too_slow());
  }

  TEST_CASE("who has sent all that it owed is fast, however long nobody looked, and at once") {
    claim_pace pace;
    pace.look(seconds(0), 0, 8);
    pace.look(100 * window, 8, owed);
    CHECK_FALSE(pace.too_slow());
    pace.look(101 * window, 8, owed);
    CHECK(pace.too_slow());
    pace.look(101 * window + seconds(1), 8 + owed, owed);
    CHECK_FALSE(pace.too_slow());
  }
}

}  // namespace diskdump
