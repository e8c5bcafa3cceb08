// A fleet whose machines cannot be reached, or only sometimes; whole fleets are simulated
// elsewhere.
#include "pipeline/fleet.hpp"

#include "image_fleet.hpp"
#include "transport/connect.hpp"

namespace diskdump {

namespace {

struct silent_observer final : fleet_observer {
  std::size_t started = 0, retried = 0, ended = 0;
  void on_start(fleet_target const&) override { ++started; }
  void on_retry(fleet_target const&, fleet_retry const&) override { ++retried; }
  void on_end(fleet_target const&) override { ++ended; }
};

struct unreachable {
  unsigned* calls;
  error failure;
  task<std::unique_ptr<remote_host>> operator()(fleet_target const&) const {
    return connect(calls, failure);
  }
  static task<std::unique_ptr<remote_host>> connect(unsigned* calls, error failure) {
    ++*calls;
    // Others come by meanwhile.
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    throw failure;
  }
};

std::vector<fleet_target> paths_of_one_host(std::size_t count) {
  std::vector<fleet_target> targets(count);
  for (std::size_t i = 0; i < count; ++i) {
    targets[i].host = "away";
    targets[i].path = "/dev/sd" + std::string(1, static_cast<char>('a' + i));
    targets[i].label = "away:" + targets[i].path;
    targets[i].manifest_name = "away-" + std::to_string(i);
  }
  return targets;
}

fleet_options options_with(unsigned attempts_max) {
  fleet_options options;
  options.targets_active_max = 32;
  options.block_bytes = block_bytes;
  options.batch_blocks = 80;
  options.retries = {.attempts_max = attempts_max,
                     .delay_first = std::chrono::milliseconds(0),
                     .delay_max = std::chrono::milliseconds(0)};
  return options;
}

}  // namespace

TEST_SUITE("fleet") {
  TEST_CASE("a machine that is away is not asked again for each of its paths") {
    fleet_of_images world;
    auto targets = paths_of_one_host(20);
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
    auto targets = paths_of_one_host(20);
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
}

}  // namespace diskdump
