// A fleet whose machines cannot be reached, or only sometimes; whole fleets are simulated
// elsewhere.
#include "pipeline/fleet.hpp"

#include "memory_machines.hpp"
#include "transport/connect.hpp"

namespace diskdump {

namespace {

struct unreachable {
  unsigned* calls;
  error failure;
  task<std::unique_ptr<remote_host>> operator()(fleet_target const&, login_place&) const {
    return connect(calls, failure);
  }
  static task<std::unique_ptr<remote_host>> connect(unsigned* calls, error failure) {
    ++*calls;
    // Others come by meanwhile.
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    throw failure;
  }
};

}  // namespace

TEST_SUITE("fleet") {
  TEST_CASE("a machine that is away is not asked again for each of its paths") {
    fleet_of_images world;
    auto targets = paths_of("away", 20);
    silent_observer observer;
    unsigned calls = 0;
    auto const away = error(transport_errc::cannot_connect, severity::transient);
    world.run(
        dump_fleet(world.context, unreachable{&calls, away}, targets, options_with(3), observer));
    // Four paths at a time, three attempts each; the rest shares what came of it.
    CHECK(calls <= limits::paths_per_host_max * 3);
    CHECK(calls >= 3);
    CHECK(observer.ended == targets.size());
    for (auto const& t : targets) {
      REQUIRE(t.failure);
      CHECK(code_of(t.failure) == transport_errc::cannot_connect);
      CHECK_FALSE(t.interrupted);
      CHECK(t.resumable_bytes == 0);
    }
  }

  TEST_CASE("a login that is refused is refused once") {
    fleet_of_images world;
    auto targets = paths_of("away", 20);
    silent_observer observer;
    unsigned calls = 0;
    auto const refused = error(transport_errc::authentication_failed, severity::permanent);
    world.run(dump_fleet(world.context, unreachable{&calls, refused}, targets, options_with(3),
                         observer));
    CHECK(calls == 1);
    CHECK(observer.retried == 0);
    for (auto const& t : targets)
      CHECK(code_of(t.failure) == transport_errc::authentication_failed);
  }

  TEST_CASE("one that drips does not keep those who have the same blocks") {
    fleet_by_hand fleet;
    fleet.targets = paths_of("drips", 1);
    fleet.targets.push_back(paths_of("well", 1).front());
    fleet.machines.lies = {lie::drips};
    auto& timers = fleet.disks.timers;
    fleet.machines.timers = &timers;
    timers.by_hand = true;
    auto const began = timers.clock().now();
    fleet.begin(options_with(1));
    while (fleet.observer.ended == 0 && timers.clock().now() - began <= limits::claim_hold_max) {
      REQUIRE(timers.advance_to_next());
      settle(fleet.disks.loop);
    }
    CHECK(fleet.observer.ended == 1);
    CHECK(fleet.targets.back().manifest);
    CHECK_FALSE(fleet.targets.front().failure);
    fleet.cancel();
    while (fleet.machines.programs() > 0 && timers.advance_to_next()) settle(fleet.disks.loop);
    fleet.require_end();
  }
}

}  // namespace diskdump
