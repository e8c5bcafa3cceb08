// How much of a fleet is at work at once. Everybody who may begin does and is held there, until
// nothing moves any more: then all are counted, let go, and the next ones begin.
#include <algorithm>

#include "memory_machines.hpp"

namespace diskdump {

namespace {

struct held_fleet : fleet_by_hand {
  void add(std::size_t hosts, std::size_t paths) {
    for (std::size_t i = 0; i < hosts; ++i) {
      std::ranges::move(paths_of("host" + std::to_string(i), paths), std::back_inserter(targets));
    }
  }
  // `held` says how many are; no more than `at_once` may be, and no fewer where there are as many.
  template <class Held>
  void run_in_turns(fleet_options options, std::size_t at_once, Held held) {
    begin(std::move(options));
    for (auto left = targets.size(); left > 0; left -= std::min(left, at_once)) {
      CAPTURE(left);
      CHECK(held() == std::min(left, at_once));
      release();
    }
    require_end();
    for (auto const& t : targets) CHECK(t.manifest);
  }
  void run_dumps_in_turns(fleet_options options, std::size_t at_once) {
    machines.starts_freely = 0;
    run_in_turns(std::move(options), at_once, [this] { return machines.held_agents(); });
  }
};

}  // namespace

TEST_SUITE("the limits of a fleet") {
  TEST_CASE("so many paths of one host are at work at once") {
    held_fleet fleet;
    fleet.add(1, 3 * limits::paths_per_host_max + 1);
    fleet.run_dumps_in_turns(options_with(1), limits::paths_per_host_max);
    CHECK(fleet.machines.connects() == 1);
  }

  TEST_CASE("so many targets are active at once as -j says, of whichever host") {
    for (std::size_t const paths : {1, 3}) {
      for (std::size_t const active : {1, 5}) {
        CAPTURE(paths);
        CAPTURE(active);
        held_fleet fleet;
        fleet.add(12 / paths, paths);
        auto options = options_with(1);
        options.targets_active_max = active;
        fleet.run_dumps_in_turns(std::move(options), active);
      }
    }
  }

  TEST_CASE("so many connections are being made at once") {
    held_fleet fleet;
    fleet.add(3 * limits::connects_in_flight_max + 1, 1);
    fleet.machines.connects_freely = 0;
    auto options = options_with(1);
    options.targets_active_max = fleet.targets.size();
    fleet.run_in_turns(std::move(options), limits::connects_in_flight_max,
                       [&fleet] { return fleet.machines.connecting(); });
  }

  TEST_CASE("who waits for a person keeps no place from those who need none") {
    held_fleet fleet;
    auto const asking = 2 * limits::connects_in_flight_max;
    fleet.add(asking + 5, 1);
    for (std::size_t i = 0; i < asking; ++i) {
      fleet.machines.asking_hosts.insert("host" + std::to_string(i));
    }
    auto options = options_with(1);
    options.targets_active_max = fleet.targets.size();
    fleet.begin(std::move(options));
    CHECK(fleet.observer.ended == 5);
    for (auto left = asking; left > 0; left -= std::min(left, limits::questions_open_max)) {
      CAPTURE(left);
      CHECK(fleet.machines.asked() == std::min(left, limits::questions_open_max));
      fleet.release();
    }
    fleet.require_end();
    for (auto const& t : fleet.targets) CHECK(t.manifest);
    // Twice for those for whom there was no place among the questions.
    CHECK(fleet.machines.connects() == fleet.targets.size() + asking - limits::questions_open_max);
  }

  TEST_CASE("a fleet that is cancelled while it waits for a person connects no more") {
    held_fleet fleet;
    fleet.add(7, 1);
    for (auto const& t : fleet.targets) fleet.machines.asking_hosts.insert(t.host);
    fleet.begin(options_with(1));
    CHECK(fleet.machines.asked() == limits::questions_open_max);
    auto const before = fleet.machines.connects();
    fleet.cancel();
    fleet.require_end();
    CHECK(fleet.machines.connects() == before);
    for (auto const& t : fleet.targets) CHECK(t.interrupted);
  }
}

}  // namespace diskdump
