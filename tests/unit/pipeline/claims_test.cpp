#include "pipeline/claims.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "base/limits.hpp"

namespace diskdump {

namespace {

struct holder final : claim_holder {
  std::vector<std::pair<std::uint64_t, verdict>> told;
  void settled(block_index index, verdict outcome) override {
    told.emplace_back(index.value, outcome);
  }
  delivery delivers = delivery::brisk;
  [[nodiscard]] delivery how_it_delivers() override { return delivers; }
};

block_id id_of(unsigned char n) {
  block_id id;
  id.bytes[0] = std::byte{n};
  return id;
}

using outcome = claims_table::outcome;

}  // namespace

TEST_SUITE("claims") {
  TEST_CASE("the first to ask claims, the others wait and have it once it is stored") {
    claims_table table;
    holder a, b, c;
    CHECK(table.ask(a, id_of(1), {10}) == outcome::claimed);
    CHECK(table.ask(b, id_of(1), {20}) == outcome::wait);
    CHECK(table.ask(c, id_of(1), {30}) == outcome::wait);
    table.stored(id_of(1));
    CHECK(a.told.empty());
    CHECK(b.told == std::vector<std::pair<std::uint64_t, verdict>>{{20, verdict::have}});
    CHECK(c.told == std::vector<std::pair<std::uint64_t, verdict>>{{30, verdict::have}});
    CHECK(table.size() == 0);
  }

  TEST_CASE("a repeat within one target is in hand already") {
    claims_table table;
    holder a, b;
    CHECK(table.ask(a, id_of(1), {0}) == outcome::claimed);
    CHECK(table.ask(a, id_of(1), {1}) == outcome::in_hand);
    CHECK(table.ask(b, id_of(1), {2}) == outcome::wait);
    CHECK(table.ask(b, id_of(1), {3}) == outcome::in_hand);
    table.stored(id_of(1));
  }

  TEST_CASE("a claimant that goes away hands the claim to the next waiter") {
    claims_table table;
    holder a, b, c;
    CHECK(table.ask(a, id_of(1), {0}) == outcome::claimed);
    CHECK(table.ask(b, id_of(1), {7}) == outcome::wait);
    CHECK(table.ask(c, id_of(1), {8}) == outcome::wait);
    table.leave(a);
    CHECK(b.told == std::vector<std::pair<std::uint64_t, verdict>>{{7, verdict::need}});
    CHECK(c.told.empty());
    table.stored(id_of(1));
    CHECK(c.told == std::vector<std::pair<std::uint64_t, verdict>>{{8, verdict::have}});
  }

  TEST_CASE("a waiter that goes away is told nothing") {
    claims_table table;
    holder a, b;
    CHECK(table.ask(a, id_of(1), {0}) == outcome::claimed);
    CHECK(table.ask(b, id_of(1), {1}) == outcome::wait);
    table.leave(b);
    table.leave(a);
    CHECK(b.told.empty());
    CHECK(table.size() == 0);
  }

  TEST_CASE("a claim on a target that stands still goes to the next that waits and does not") {
    claims_table table;
    holder a, b, c;
    CHECK(table.ask(a, id_of(1), {10}) == outcome::claimed);
    CHECK(table.ask(b, id_of(1), {20}) == outcome::wait);
    CHECK(table.ask(c, id_of(1), {30}) == outcome::wait);
    table.pass_stalled();
    CHECK(b.told.empty());
    a.delivers = b.delivers = claim_holder::delivery::silent;
    table.pass_stalled();
    CHECK(b.told.empty());
    REQUIRE(c.told == std::vector<std::pair<std::uint64_t, verdict>>{{30, verdict::need}});
    // The first one wakes up and sends it after all.
    table.stored(id_of(1));
    CHECK(b.told == std::vector<std::pair<std::uint64_t, verdict>>{{20, verdict::have}});
    CHECK(a.told.empty());
    CHECK(c.told.size() == 1);
    CHECK(table.size() == 0);
  }

  TEST_CASE("a claim that nobody waits for stays with a target that stands still") {
    claims_table table;
    holder a, b;
    a.delivers = claim_holder::delivery::silent;
    CHECK(table.ask(a, id_of(1), {10}) == outcome::claimed);
    table.pass_stalled();
    CHECK(table.ask(b, id_of(1), {20}) == outcome::wait);
    table.pass_stalled();
    CHECK(b.told == std::vector<std::pair<std::uint64_t, verdict>>{{20, verdict::need}});
  }

  TEST_CASE("for slowness a block is passed so many times, for silence as often as it takes") {
    claims_table table;
    std::array<holder, limits::claim_slow_passes_max + 3> all;
    for (std::size_t i = 0; i < all.size(); ++i) (void)table.ask(all[i], id_of(1), {i});
    auto const asked = [&all] {
      return std::count_if(all.begin(), all.end(), [](holder const& h) { return !h.told.empty(); });
    };
    for (unsigned pass = 0; pass < limits::claim_slow_passes_max + 1; ++pass) {
      all[pass].delivers = claim_holder::delivery::slow;
      table.pass_stalled();
    }
    CHECK(asked() == limits::claim_slow_passes_max);
    all[limits::claim_slow_passes_max].delivers = claim_holder::delivery::silent;
    table.pass_stalled();
    CHECK(asked() == limits::claim_slow_passes_max + 1);
    table.stored(id_of(1));
  }
}

}  // namespace diskdump
