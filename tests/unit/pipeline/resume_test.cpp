// Attempts that break off and go on, within one run and in a later one.
#include "pipeline/resume.hpp"

#include <algorithm>
#include <fstream>

#include "image_fleet.hpp"
#include "store/interrupted.hpp"

namespace diskdump {

namespace {

task<> keep(fleet_of_images& fleet, fleet_of_images::target& t, std::uint64_t& bytes) {
  bytes = co_await keep_interrupted(fleet.context, t.plan, t.ledger);
}
task<> take_up(fleet_of_images& fleet, fleet_of_images::target& t, bool& found) {
  found = co_await take_up_interrupted(fleet.context, t.plan, t.ledger);
}

// A dump that breaks off, and is kept for a later run; returns what that has of the image.
std::uint64_t interrupted_dump(fleet_of_images& fleet, byte_vector const& image) {
  fleet.batch_blocks = 8;  // what is under way is little beside what has arrived
  auto& t = fleet.dump(image, lie::dies_half_way);
  t.agent->dies_after = 40;
  fleet.run();
  REQUIRE(t.failure);
  std::uint64_t bytes = 0;
  fleet.run(keep(fleet, t, bytes));
  REQUIRE(bytes > 0);
  return bytes;
}

// As in another process: nothing of the first one's memory is left.
fleet_of_images::target& later_dump(fleet_of_images& fleet, byte_vector const& image, bool& found) {
  auto& t = fleet.dump(image);
  fleet.run(take_up(fleet, t, found));
  return t;
}

std::string value_of(block_store& store, std::string const& path, std::string_view key) {
  manifest_reader reader(path, store);
  while (reader.next()) {
  }
  for (auto const& [name, value] : reader.header().extra) {
    if (name == key) return value;
  }
  return "";
}

}  // namespace

TEST_SUITE("resume") {
  TEST_CASE("a second attempt goes on at the first block that is not in the store") {
    for (auto const kind : {store_format::loose, store_format::pack}) {
      fleet_of_images fleet(kind);
      fleet.batch_blocks = 8;
      auto const image = random_image(60 * 4096 + 100, 2);
      auto& t = fleet.dump(image, lie::dies_half_way);
      t.agent->dies_after = 40;
      fleet.run();
      REQUIRE(t.failure);
      auto const sent_first = t.agent->blocks_sent;
      auto const frontier = t.ledger.frontier();
      CHECK(frontier.value > 0);
      fleet.again(t, image);
      fleet.run();
      REQUIRE_FALSE(t.failure);
      CHECK(t.agent->first == frontier);
      CHECK(sent_first + t.agent->blocks_sent <= 61 + fleet.batch_blocks);
      CHECK(fleet.restored(t.manifest) == image);
      CHECK(t.progress.blocks_stored.value + t.progress.blocks_reused.value == 61);
    }
  }

  TEST_CASE("what was announced again to nobody is not kept: its bad ranges are forgotten") {
    for (auto const kind : {store_format::loose, store_format::pack}) {
      fleet_of_images fleet(kind);
      fleet.batch_blocks = 8;
      auto& t = fleet.dump(random_image(60 * 4096, 2), lie::dies_half_way);
      t.agent->dies_after = 40;
      fleet.run();
      REQUIRE(t.failure);
      // The next attempt breaks off before it has heard of the source.
      auto const known = t.ledger.begin_attempt();
      REQUIRE(known.value > 0);
      std::uint64_t bytes = 0;
      fleet.run(keep(fleet, t, bytes));
      CHECK(bytes == known.value * block_bytes);
      auto kept = open_interrupted(fleet.folder.path, "disk", *fleet.store);
      REQUIRE(kept.has_value());
      std::uint64_t blocks = 0;
      while (kept->next()) ++blocks;
      CHECK(blocks == known.value);
    }
  }

  TEST_CASE("an attempt that finds another disk is refused, and publishes nothing") {
    fleet_of_images fleet;
    fleet.batch_blocks = 8;
    auto const image = random_image(60 * 4096, 2);
    auto& t = fleet.dump(image, lie::dies_half_way);
    t.agent->dies_after = 40;
    fleet.run();
    fleet.again(t, image);
    t.agent->identity = "serial=2";
    fleet.run();
    REQUIRE(t.failure);
    CHECK(code_of(t.failure) == pipeline_errc::source_changed);
    CHECK(t.agent->abort_heard == "cancelled: the dump was abandoned");
    CHECK(t.manifest.empty());
  }

  TEST_CASE("a later run goes on with what is in the store, and the manifest says so") {
    for (auto const kind : {store_format::loose, store_format::pack}) {
      fleet_of_images fleet(kind);
      auto const image = random_image(60 * 4096, 2);
      auto const known_bytes = interrupted_dump(fleet, image);
      CHECK(list_interrupted(fleet.folder.path) == std::vector<std::string>{"disk"});
      fleet.store = nullptr;
      auto reopened = open_store(fleet.folder.path, {});
      fleet.store = std::move(reopened);
      dump_context context{fleet.context.executor, fleet.workers, fleet.writers, fleet.timers,
                           *fleet.store,           fleet.claims,  fleet.log,     fleet.folder.path};
      auto& t = fleet.dump(image);
      bool found = false;
      struct later {
        static task<> run(fleet_of_images& f, dump_context& c, fleet_of_images::target& t,
                          bool& found) {
          found = co_await take_up_interrupted(c, t.plan, t.ledger);
          auto ends = make_memory_stream_pair(f.loop.get_executor(), f.wire_capacity_bytes);
          scope agents(f.loop.get_executor());
          agents.spawn(f.serve(*t.agent, std::move(ends.second)));
          co_await f.one(c, t, std::move(ends.first));
          co_await agents.join();
        }
      };
      t.pending = false;
      fleet.run(later::run(fleet, context, t, found));
      CHECK(found);
      REQUIRE_FALSE(t.failure);
      CHECK(t.agent->first.value * 4096 >= known_bytes);
      CHECK(fleet.restored(t.manifest) == image);
      CHECK(value_of(*fleet.store, fleet.folder.path + "/" + t.manifest, resumed_key)
                .find("from block") != std::string::npos);
      CHECK(list_interrupted(fleet.folder.path).empty());
    }
  }

  TEST_CASE("blocks that the store lost meanwhile are asked for again") {
    for (auto const kind : {store_format::loose, store_format::pack}) {
      fleet_of_images fleet(kind);
      auto const image = random_image(60 * 4096, 2);
      interrupted_dump(fleet, image);
      auto const third = sha256(byte_view(image).subspan(2 * 4096, 4096));
      fleet.store->remove(std::span(&third, 1));
      bool found = false;
      auto& t = later_dump(fleet, image, found);
      CHECK(found);
      CHECK(t.ledger.frontier() == block_index{2});
      fleet.run();
      REQUIRE_FALSE(t.failure);
      CHECK(fleet.restored(t.manifest) == image);
    }
  }

  TEST_CASE("another source, size or block size is refused") {
    auto const image = random_image(60 * 4096, 2);
    SUBCASE("source") {
      fleet_of_images fleet;
      interrupted_dump(fleet, image);
      auto& t = fleet.dump(image);
      t.plan.source = "other:/disk";
      bool found = false;
      CHECK_THROWS_AS(fleet.run(take_up(fleet, t, found)), error);
    }
    SUBCASE("block size") {
      fleet_of_images fleet;
      interrupted_dump(fleet, image);
      auto& t = fleet.dump(image);
      t.plan.start.block_bytes = 8192;
      bool found = false;
      CHECK_THROWS_AS(fleet.run(take_up(fleet, t, found)), error);
    }
    SUBCASE("size") {
      fleet_of_images fleet;
      interrupted_dump(fleet, image);
      bool found = false;
      auto& t = later_dump(fleet, random_image(61 * 4096, 2), found);
      CHECK(found);
      fleet.run();
      REQUIRE(t.failure);
      CHECK(code_of(t.failure) == pipeline_errc::source_changed);
      CHECK(t.agent->abort_heard == "cancelled: the dump was abandoned");
    }
  }

  TEST_CASE("a file that an interrupted dump left and somebody cut is refused") {
    fleet_of_images fleet;
    auto const image = random_image(60 * 4096, 2);
    interrupted_dump(fleet, image);
    auto const path = fleet.folder.path + "/.blockstore/" + interrupted_file("disk");
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 40);
    auto& t = fleet.dump(image);
    bool found = false;
    CHECK_THROWS_AS(fleet.run(take_up(fleet, t, found)), error);
  }

  TEST_CASE("what could not be read stands once in a dump that failed at its very end") {
    fleet_of_images fleet;
    auto const image = random_image(20 * 4096, 2);
    auto& t = fleet.dump(image);
    t.plan.date = clock_source::wall(std::chrono::seconds(1776996000));  // 2026-04-24T02:00:00Z
    t.ledger.add({.offset_bytes = 4096, .length_bytes = 8192});
    // Its manifest gets no folder.
    auto const year = fleet.folder.path + "/2026";
    std::ofstream(year) << "a file";
    fleet.run();
    REQUIRE(t.failure);
    std::filesystem::remove(year);
    std::uint64_t bytes = 0;
    fleet.run(keep(fleet, t, bytes));
    CHECK(bytes == image.size());
    bool found = false;
    auto& later = later_dump(fleet, image, found);
    CHECK(found);
    CHECK(later.ledger.bad_ranges.size() == 1);
    CHECK(later.progress.bad_bytes == 8192);
    fleet.run();
    REQUIRE_FALSE(later.failure);
    manifest_reader reader(fleet.folder.path + "/" + later.manifest, *fleet.store);
    while (reader.next()) {
    }
    auto const& extra = reader.header().extra;
    CHECK(std::ranges::count(extra, bad_range_key, &std::pair<std::string, std::string>::first) ==
          1);
  }

  TEST_CASE("without an interrupted dump there is nothing to take up") {
    fleet_of_images fleet;
    bool found = true;
    later_dump(fleet, random_image(4096, 2), found);
    CHECK_FALSE(found);
  }
}

}  // namespace diskdump
