// A fleet that is told to stop, at moments when something else has just gone wrong.
#include "memory_machines.hpp"

namespace diskdump {

namespace {

// A fleet of one target, whose first attempt breaks off with most of its image in the store.
struct broken_off : fleet_by_hand {
  broken_off() {
    targets = paths_of("away", 1);
    machines.lies = {lie::dies_half_way};
  }
  void check_stopped(std::size_t starts) {
    require_end();
    auto const& target = targets.front();
    CHECK(target.interrupted);
    CHECK_FALSE(target.manifest);
    CHECK(target.resumable_bytes > 0);
    CHECK(observer.retried == 1);
    CHECK(machines.starts() == starts);
  }
};

}  // namespace

TEST_SUITE("a fleet that is cancelled") {
  TEST_CASE("after an attempt that failed, in the pause before the next one") {
    broken_off fleet;
    auto options = options_with(3);
    options.retries.delay_first = options.retries.delay_max = std::chrono::seconds(10);
    fleet.begin(std::move(options));
    REQUIRE(fleet.targets.front().progress.state == target_state::retrying);
    fleet.cancel();
    fleet.check_stopped(1);
  }

  TEST_CASE("after an attempt that failed, while it connects again") {
    broken_off fleet;
    fleet.machines.connects_freely = 1;
    fleet.begin(options_with(3));
    REQUIRE(fleet.machines.connecting() == 1);
    fleet.cancel();
    fleet.check_stopped(1);
  }

  TEST_CASE("after an attempt that failed, in the middle of the next one") {
    broken_off fleet;
    fleet.machines.starts_freely = 1;
    fleet.begin(options_with(3));
    REQUIRE(fleet.machines.held_agents() == 1);
    REQUIRE(fleet.targets.front().progress.state == target_state::dumping);
    fleet.cancel();
    fleet.check_stopped(2);
  }

  TEST_CASE("as a dump ends well: it has ended well, and its post command runs") {
    fleet_by_hand fleet;
    fleet.targets = paths_of("here", 1);
    fleet.targets.front().pre = "freeze";
    fleet.targets.front().post = "thaw";
    fleet.machines.closes_freely = 1;  // that of pre
    fleet.begin(options_with(3));
    REQUIRE(fleet.machines.closing() == 1);
    REQUIRE(fleet.targets.front().progress.state == target_state::sealing);
    fleet.cancel();
    REQUIRE(fleet.machines.closing() == 1);
    fleet.machines.closes_freely = 100;
    fleet.release();
    fleet.require_end();
    CHECK(fleet.targets.front().manifest);
    CHECK_FALSE(fleet.targets.front().failure);
    REQUIRE(fleet.machines.commands().size() == 2);
    CHECK(fleet.machines.commands()[1].find("thaw") != std::string::npos);
  }
}

}  // namespace diskdump
