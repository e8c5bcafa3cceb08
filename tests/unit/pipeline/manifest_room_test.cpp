// What the manifests of a run leave of a disk: judged by figures that the test makes up, and in
// whole dumps whose disk is a folder that is said to be small.
#include "pipeline/manifest_room.hpp"

#include "async/spawned.hpp"
#include "image_fleet.hpp"

namespace diskdump {

namespace {

constexpr std::uint64_t reserve_bytes = limits::manifest_reserve_bytes_max;
constexpr std::uint64_t disk_bytes = 2 * limits::manifest_reserve_part * reserve_bytes;
constexpr std::uint64_t small_bytes = reserve_bytes / limits::manifest_reserve_steps;

// A disk of which `free` bytes are free, and manifests on it.
struct room_by_hand {
  asio::io_context loop{1};
  worker_pool writers{loop.get_executor(), 2};
  std::uint64_t free = disk_bytes;
  unsigned looks = 0;
  manifest_room room{loop.get_executor(), writers, [this] {
                       ++looks;
                       return std::optional(free);
                     }};

  std::unique_ptr<spawned> take(manifest_room::share& of, std::uint64_t bytes) {
    return start(loop, of.take(bytes));
  }
  // What is written is no longer free.
  void write(manifest_room::share& of, std::uint64_t bytes) {
    auto const one = take(of, bytes);
    REQUIRE(one->ended);
    REQUIRE_FALSE(one->failure);
    free -= bytes;
  }
};

struct open_manifest : manifest_room::share {
  explicit open_manifest(room_by_hand& where) : share(where.room) { restart(0); }
};

}  // namespace

TEST_SUITE("manifest_room") {
  TEST_CASE("while more than the reserve is free nobody is stopped, whatever he writes") {
    room_by_hand by;
    open_manifest a(by);
    by.write(a, disk_bytes - reserve_bytes);
    by.write(a, 1);
    CHECK_FALSE(a.given_up());
  }

  TEST_CASE("what is free is not looked up for each line") {
    room_by_hand by;
    open_manifest a(by);
    by.looks = 0;
    for (std::uint64_t i = 0; i < 100; ++i) by.write(a, small_bytes / 100);
    CHECK(by.looks <= 2);
  }

  TEST_CASE("below it the largest is given up, and who asks waits until its lines are gone") {
    room_by_hand by;
    open_manifest large(by), other(by);
    by.write(other, 2 * small_bytes);
    by.write(large, disk_bytes - 2 * small_bytes - reserve_bytes + 1);
    auto const watch = start(by.loop, large.watch());
    auto const asks = by.take(other, small_bytes);
    settle(by.loop);
    CHECK(watch->failed_with(pipeline_errc::no_room_for_manifest));
    CHECK_FALSE(asks->ended);
    CHECK_FALSE(other.given_up());
    // It asks for more itself before it hears of it.
    CHECK(by.take(large, 1)->failed_with(pipeline_errc::no_room_for_manifest));
    by.free += disk_bytes / 2;
    large.removed();
    settle(by.loop);
    CHECK(asks->ended);
    CHECK_FALSE(asks->failure);
  }

  TEST_CASE("the largest is told so when it asks itself") {
    room_by_hand by;
    open_manifest large(by);
    by.write(large, disk_bytes - reserve_bytes + 1);
    CHECK(by.take(large, 1)->failed_with(pipeline_errc::no_room_for_manifest));
    large.removed();
  }

  TEST_CASE("a file system that gives space back later costs no second manifest") {
    room_by_hand by;
    open_manifest first(by), second(by);
    by.write(second, 3 * small_bytes);
    by.write(first, disk_bytes - reserve_bytes);
    auto const asks = by.take(second, small_bytes);
    settle(by.loop);
    REQUIRE(first.given_up());
    first.removed();
    settle(by.loop);
    CHECK(asks->ended);
    CHECK_FALSE(asks->failure);
    by.write(second, small_bytes);
    CHECK_FALSE(second.given_up());
  }

  TEST_CASE("where blocks fill the disk no manifest is given up") {
    room_by_hand by;
    open_manifest a(by);
    by.write(a, 2 * small_bytes);
    by.free = 0;
    CHECK(by.take(a, 1)->ended);
    CHECK_FALSE(a.given_up());
  }

  TEST_CASE("manifests that have ended count, and the small ones that are left go on") {
    room_by_hand by;
    {
      open_manifest ended(by);
      by.write(ended, disk_bytes - reserve_bytes);
      ended.keep();
    }
    open_manifest little(by), more(by);
    by.write(little, small_bytes / 2);
    by.write(more, small_bytes / 2);
    CHECK_FALSE(more.given_up());
    by.write(more, small_bytes);
    auto const asks = by.take(little, 1);
    CHECK(more.given_up());
    CHECK_FALSE(asks->ended);
    more.removed();
    settle(by.loop);
    CHECK(asks->ended);
  }

  TEST_CASE("one that waits for the next attempt is not given up, but counts") {
    room_by_hand by;
    open_manifest resting(by), working(by);
    by.write(resting, disk_bytes - reserve_bytes);
    resting.pause();
    by.write(working, 2 * small_bytes);
    CHECK(by.take(working, 1)->failed_with(pipeline_errc::no_room_for_manifest));
    CHECK_FALSE(resting.given_up());
    working.removed();
  }

  TEST_CASE("who waits for room can be cancelled") {
    room_by_hand by;
    open_manifest large(by), other(by);
    by.write(large, disk_bytes - reserve_bytes + 1);
    auto const asks = by.take(other, 1);
    settle(by.loop);
    REQUIRE_FALSE(asks->ended);
    asks->cancel();
    settle(by.loop);
    CHECK(asks->aborted());
    large.removed();
  }

  TEST_CASE("where nobody knows what is free nothing is bounded") {
    asio::io_context loop{1};
    worker_pool writers{loop.get_executor(), 2};
    manifest_room room(loop.get_executor(), writers,
                       []() -> std::optional<std::uint64_t> { return std::nullopt; });
    manifest_room::share one(room);
    one.restart(0);
    auto const taken = start(loop, one.take(std::uint64_t{1} << 60));
    CHECK(taken->ended);
    CHECK_FALSE(taken->failure);
  }

  TEST_CASE("targets that say their disks are huge leave the others room to end") {
    constexpr std::uint64_t room_bytes = 2 * limits::MiB;
    fleet_of_images fleet(store_format::loose, jobs_run::on_loop);
    std::uint64_t least = room_bytes;
    auto const look = [&]() -> std::optional<std::uint64_t> {
      std::uint64_t used = 0;
      for (auto const& entry : std::filesystem::recursive_directory_iterator(fleet.folder.path)) {
        // Not the room that the store keeps back for itself, which is larger.
        if (entry.is_regular_file() && entry.file_size() < room_bytes) used += entry.file_size();
      }
      auto const free = room_bytes - std::min(room_bytes, used);
      least = std::min(least, free);
      return free;
    };
    fleet.manifests.emplace(fleet.loop.get_executor(), fleet.writers, look);
    fleet.context.manifests = &*fleet.manifests;
    // Each takes half of it.
    byte_vector const zeros(std::size_t{16384} * block_bytes);
    for (int i = 0; i < 4; ++i) fleet.dump(zeros);
    auto const image = random_image(100 * block_bytes, 3);
    auto& honest = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(honest.failure);
    CHECK(fleet.restored(honest.manifest) == image);
    std::size_t failed = 0;
    for (auto const& t : fleet.targets) {
      if (!t->failure) continue;
      ++failed;
      CHECK(code_of(t->failure) == pipeline_errc::no_room_for_manifest);
      CHECK_FALSE(t->ledger.manifest);
    }
    CHECK(failed > 0);
    CHECK(failed < 4);
    // Blocks of the honest one, and what was buffered, took of the reserve.
    CHECK(least > 0);
  }
}

}  // namespace diskdump
