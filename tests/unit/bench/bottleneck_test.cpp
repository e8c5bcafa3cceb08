#include "bench/bottleneck.hpp"

#include <doctest/doctest.h>

namespace diskdump {

namespace {

using seconds = std::chrono::duration<double>;

// A dump of 10 s on two cores, where not much happens.
phase_load quiet() {
  return {.wall = seconds(10),
          .cores = 2,
          .cpu = seconds(4),
          .stages = {{.name = "agent",
                      .does = "reading",
                      .threads = 2,
                      .busy = seconds(2),
                      .cpu = seconds(2)},
                     {.name = "verify",
                      .does = "hashing",
                      .threads = 2,
                      .busy = seconds(3),
                      .cpu = seconds(1)},
                     {.name = "persist",
                      .does = "storing",
                      .threads = 4,
                      .busy = seconds(4),
                      .cpu = seconds(1)},
                     {.name = "seal", .does = "syncing", .busy = seconds(1), .alone = true}},
          .waited_for_agent = seconds(2)};
}

}  // namespace

TEST_SUITE("bottleneck") {
  TEST_CASE("a stage that works alone and long is it, whatever else is busy") {
    auto load = quiet();
    load.stages[3].busy = seconds(5);
    load.cpu = seconds(20);
    auto const found = find_bottleneck(load);
    CHECK(found.stage == "seal");
    CHECK(found.reason.find("50 %") != std::string::npos);
    CHECK(found.reason.find("syncing") != std::string::npos);
  }

  TEST_CASE("where the cores are busy, it is the stage that takes most of them") {
    auto load = quiet();
    load.cpu = seconds(18);
    load.stages[0].cpu = seconds(9);
    auto const found = find_bottleneck(load);
    CHECK(found.stage == "agent");
    CHECK(found.reason ==
          "the 2 cores were busy for 90 %, and 50 % of what diskdump took of that went to reading");
  }

  TEST_CASE("other programs that take the cores are named") {
    auto load = quiet();
    load.others = seconds(14);
    auto const found = find_bottleneck(load);
    CHECK(found.stage == "agent");
    CHECK(found.reason.find("busy for 90 % (70 % with other programs)") != std::string::npos);
  }

  TEST_CASE("else the stage whose threads are busy") {
    auto load = quiet();
    load.stages[2].busy = seconds(36);
    auto const found = find_bottleneck(load);
    CHECK(found.stage == "persist");
    CHECK(found.reason.find("4 threads were busy for 90 %") != std::string::npos);
  }

  TEST_CASE("else the agent, where the server waits for it") {
    auto load = quiet();
    load.waited_for_agent = seconds(7);
    CHECK(find_bottleneck(load).stage == "agent");
    CHECK(find_bottleneck(load).reason.find("70 %") != std::string::npos);
  }

  TEST_CASE("else the busiest, which is said to be none") {
    auto const found = find_bottleneck(quiet());
    CHECK(found.stage == "verify");
    CHECK(found.reason.find("nothing was busy all the time") != std::string::npos);
  }

  TEST_CASE("work that is not divided into threads is named with what the cores did") {
    phase_load load{.wall = seconds(10),
                    .cores = 2,
                    .cpu = seconds(6),
                    .stages = {{.name = "a", .does = "a", .threads = 0, .busy = seconds(9)},
                               {.name = "b", .does = "b", .threads = 0, .busy = seconds(1)}},
                    .waited_for_agent = {}};
    auto const found = find_bottleneck(load);
    CHECK(found.stage == "a");
    CHECK(found.reason == "90 % of the time went to a, while the 2 cores were busy for 30 %");
  }

  TEST_CASE("nothing measured, nothing claimed") {
    CHECK(find_bottleneck({}).stage == "none");
    auto load = quiet();
    load.wall = {};
    CHECK(find_bottleneck(load).stage == "none");
  }
}

}  // namespace diskdump
