#include "pipeline/image_ledger.hpp"

#include <doctest/doctest.h>

namespace diskdump {

namespace {

constexpr std::uint32_t ledger_block_bytes = 4096;

struct fixture {
  target_progress progress;
  image_ledger ledger{progress, ledger_block_bytes};
  fixture() {
    ledger.check_source({.image_bytes = 100 * ledger_block_bytes, .identity = "serial=1"});
    ledger.begin_attempt();
  }
  [[nodiscard]] std::uint64_t counted() const {
    return progress.blocks_stored.value + progress.blocks_reused.value + progress.blocks_zero.value;
  }
};

std::error_code code_of(std::function<void()> const& act) {
  try {
    act();
  } catch (error const& e) {
    return e.code();
  }
  return {};
}

}  // namespace

TEST_SUITE("image_ledger") {
  TEST_CASE("the frontier stops at the first block that is not in the store") {
    fixture f;
    f.ledger.held({0});
    f.ledger.expected({1}, {});
    f.ledger.expected({2}, {});
    f.ledger.zeros({3}, {10});
    CHECK(f.ledger.frontier() == block_index{1});
    f.ledger.stored({2}, true);
    CHECK(f.ledger.frontier() == block_index{1});
    f.ledger.stored({1}, true);
    CHECK(f.ledger.frontier() == block_index{13});
  }

  TEST_CASE("each block is counted once, however many attempts announce it") {
    fixture f;
    f.ledger.held({0});
    f.ledger.expected({1}, {});
    f.ledger.expected({2}, {});
    f.ledger.zeros({3}, {7});
    f.ledger.stored({2}, true);
    CHECK(f.counted() == 9);
    CHECK(f.ledger.begin_attempt() == block_index{1});
    // Block 2 is in the store since, block 1 came by another target.
    f.ledger.held({1});
    f.ledger.held({2});
    f.ledger.zeros({3}, {7});
    f.ledger.expected({10}, {});
    f.ledger.stored({10}, false);
    CHECK(f.counted() == 11);
    CHECK(f.progress.blocks_zero.value == 7);
    CHECK(f.progress.blocks_stored.value == 1);
    CHECK(f.ledger.frontier() == block_index{11});
  }

  TEST_CASE("what was expected and is zeros in the next attempt is counted as that") {
    fixture f;
    for (std::uint64_t i = 0; i < 4; ++i) f.ledger.expected({i}, {});
    f.ledger.stored({1}, true);
    CHECK(f.ledger.begin_attempt() == block_index{0});
    f.ledger.zeros({0}, {6});
    CHECK(f.progress.blocks_zero.value == 5);
    CHECK(f.counted() == 6);
  }

  TEST_CASE("a block that is stored twice counts once") {
    fixture f;
    f.ledger.expected({0}, {});
    f.ledger.stored({0}, true);
    f.ledger.stored({0}, false);
    CHECK(f.counted() == 1);
  }

  TEST_CASE("unreadable ranges are kept up to the frontier and told again behind it") {
    fixture f;
    f.ledger.zeros({0}, {2});
    f.ledger.expected({2}, {});
    f.ledger.add({4096, 4096});
    f.ledger.add({2 * 4096, 512});
    CHECK(f.ledger.bad_ranges.size() == 1);  // they touch
    CHECK(f.progress.bad_bytes == 4608);
    f.ledger.begin_attempt();
    REQUIRE(f.ledger.bad_ranges.size() == 1);
    CHECK(f.ledger.bad_ranges.front().length_bytes == 4096);
    CHECK(f.progress.bad_bytes == 4096);
    f.ledger.add({2 * 4096, 512});
    CHECK(f.ledger.bad_ranges.front().length_bytes == 4608);
  }

  TEST_CASE("an attempt that finds another source is refused") {
    fixture f;
    CHECK(code_of([&] {
            f.ledger.check_source({.image_bytes = 99 * ledger_block_bytes, .identity = "serial=1"});
          }) == pipeline_errc::source_changed);
    CHECK(code_of([&] {
            f.ledger.check_source(
                {.image_bytes = 100 * ledger_block_bytes, .identity = "serial=2"});
          }) == pipeline_errc::source_changed);
    f.ledger.check_source({.image_bytes = 100 * ledger_block_bytes, .identity = "serial=1"});
  }
}

}  // namespace diskdump
