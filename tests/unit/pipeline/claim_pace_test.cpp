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

  TEST_CASE("time that it did not have to send does not count") {
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

TEST_SUITE("sending_time") {
  using std::chrono::milliseconds;

  // A message of zeros without end: so many blocks in one run, answered in so long.
  constexpr std::uint64_t blocks = limits::digests_blocks_max;
  constexpr auto message = limits::claim_pace_run_time + blocks * limits::claim_pace_line_time;

  TEST_CASE("who sends anything but what it owes, as fast as we take it, is too slow") {
    sending_time had;
    claim_pace pace;
    pace.look(had.total(), 0, owed);
    // Nobody ever waits for bytes of it: only for what it announced to be answered.
    for (auto gone = milliseconds(0); gone < window; gone += milliseconds(10)) {
      CHECK_FALSE(pace.too_slow());
      had.announced(milliseconds(10), 1, blocks);
      pace.look(had.total(), 0, owed);
    }
    CHECK(pace.too_slow());
  }

  TEST_CASE("a store that stands still while it is told of zeros is not held against it") {
    sending_time had;
    for (int i = 0; i < 1000; ++i) had.announced({}, 1, blocks);
    had.announced(seconds(600), 1, blocks);
    CHECK(had.total() == limits::claim_pace_kept_max);
    had.announced(seconds(600), 1, 1);
    CHECK(had.total() ==
          limits::claim_pace_kept_max + limits::claim_pace_run_time + limits::claim_pace_line_time);
  }

  TEST_CASE("a store that is slow counts as if it were fast, one that is faster as it is") {
    sending_time slow, fast;
    for (int i = 0; i < 10; ++i) {
      slow.announced(10 * message, 1, blocks);
      fast.announced(message / 10, 1, blocks);
    }
    CHECK(slow.total() == 10 * message);
    CHECK(fast.total() == 10 * (message / 10));
  }

  TEST_CASE("of a limit's time it had the part that went to what is no block") {
    sending_time had;
    had.paced(seconds(8), 0, 1000);
    CHECK(had.total() == seconds(0));
    had.paced(seconds(8), 250, 1000);
    CHECK(had.total() == seconds(2));
    had.paced(seconds(8), 1000, 1000);
    CHECK(had.total() == seconds(10));
    had.paced(seconds(8), 0, 0);  // the stream's end
    CHECK(had.total() == seconds(10));
  }
}

}  // namespace diskdump
