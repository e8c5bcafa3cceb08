// Whole dumps of one and more targets over memory streams: the real stages, sessions, store files
// and manifests; only the wire and the agent's disk are in memory.
#include "image_fleet.hpp"

namespace diskdump {

TEST_SUITE("dump") {
  TEST_CASE("an image of any length comes back byte for byte") {
    for (std::size_t const bytes : {0, 1, 4095, 4096, 4097, 80 * 4096, 81 * 4096 + 17, 1000000}) {
      CAPTURE(bytes);
      fleet_of_images fleet;
      auto const image = random_image(bytes, 7);
      auto& t = fleet.dump(image);
      fleet.run();
      REQUIRE_FALSE(t.failure);
      CHECK(fleet.restored(t.manifest) == image);
      CHECK(t.progress.blocks_stored.value == t.progress.blocks.value);
    }
  }

  TEST_CASE("zero blocks are never sent and come back") {
    fleet_of_images fleet;
    byte_vector image(100 * 4096 + 5);
    image[50 * 4096] = std::byte{1};
    auto& t = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_sent == 1);
    CHECK(t.progress.blocks_zero.value == 100);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("a block repeated inside the window is sent once") {
    fleet_of_images fleet;
    auto const one = random_image(4096, 3);
    byte_vector image;
    for (int i = 0; i < 40; ++i) append_bytes(image, one);
    auto& t = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_sent == 1);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("identical targets together send every block once") {
    fleet_of_images fleet;
    auto const image = random_image(300 * 4096, 5);
    for (int i = 0; i < 4; ++i) fleet.dump(image);
    fleet.run();
    std::size_t sent = 0, waits = 0;
    for (auto const& t : fleet.targets) {
      REQUIRE_FALSE(t->failure);
      CHECK(fleet.restored(t->manifest) == image);
      sent += t->agent->blocks_sent;
      waits += t->agent->waits;
    }
    CHECK(sent == 300);
    CHECK(waits > 0);
  }

  TEST_CASE("the smallest batch and a narrow wire make it slow, not stuck") {
    fleet_of_images fleet;
    fleet.wire_capacity_bytes = 512;
    fleet.batch_blocks = 8;
    auto const image = random_image(50 * 4096, 9);
    auto& a = fleet.dump(image);
    auto& b = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(a.failure);
    REQUIRE_FALSE(b.failure);
    CHECK(a.agent->blocks_sent + b.agent->blocks_sent == 50);
  }

  TEST_CASE("a block has memory for what the store is given, whatever it crossed the wire as") {
    // Six bits of chance in each byte: zlib takes a quarter off it, and LZ4 nothing.
    auto const image = random_image(200 * 4096 + 17, 9);
    for (auto const codec : {block_codec::lz4, block_codec::zlib}) {
      // In the smallest budget one block has to fit.
      for (auto const batch_blocks : {8U, 80U}) {
        CAPTURE(batch_blocks);
        fleet_of_images fleet;
        fleet.batch_blocks = batch_blocks;
        auto& t = fleet.dump(image);
        t.agent->codec = codec;
        fleet.run();
        REQUIRE_FALSE(t.failure);
        CHECK(fleet.restored(t.manifest) == image);
      }
    }
  }

  TEST_CASE("a block with other content than announced ends the target and is not stored") {
    fleet_of_images fleet;
    auto& liar = fleet.dump(random_image(10 * 4096, 1), lie::wrong_content);
    fleet.run();
    REQUIRE(liar.failure);
    CHECK(code_of(liar.failure) == wire_errc::digest_mismatch);
    CHECK(liar.agent->abort_heard == "breach of the protocol: " + code_of(liar.failure).message());
    CHECK(fleet.store->stats().blocks == 0);
    CHECK(liar.manifest.empty());
  }

  TEST_CASE("a claimant that lies or dies hands its blocks on to those who wait for them") {
    for (auto const how : {lie::wrong_content, lie::dies_half_way}) {
      fleet_of_images fleet;
      auto const image = random_image(60 * 4096, 2);
      // Ten blocks that nobody else has, so that it certainly sends some.
      auto bad_image = random_image(10 * 4096, 77);
      append_bytes(bad_image, image);
      auto& bad = fleet.dump(bad_image, how);
      auto& good = fleet.dump(image);
      auto& other = fleet.dump(image);
      fleet.run();
      CHECK(bad.failure);
      REQUIRE_FALSE(good.failure);
      REQUIRE_FALSE(other.failure);
      CHECK(fleet.restored(good.manifest) == image);
      CHECK(fleet.restored(other.manifest) == image);
    }
  }

  TEST_CASE("an agent that goes away before END publishes nothing") {
    fleet_of_images fleet;
    auto& t = fleet.dump(random_image(60 * 4096, 2), lie::dies_half_way);
    fleet.run();
    REQUIRE(t.failure);
    CHECK(code_of(t.failure) == wire_errc::early_end);
    CHECK(t.manifest.empty());
    CHECK_FALSE(std::filesystem::exists(fleet.folder.path + "/2026"));
  }

  TEST_CASE("a dump that has published has succeeded, whatever an earlier one left there") {
    fleet_of_images fleet;
    // What stands where an interrupted dump would, and cannot be removed as one.
    auto const left = fleet.folder.path + "/.blockstore/interrupted/disk.part";
    std::filesystem::create_directories(left + "/inside");
    auto const image = random_image(3 * 4096, 4);
    auto& t = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(t.failure);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("endless notes end the target") {
    fleet_of_images fleet;
    auto& t = fleet.dump(random_image(4096, 2), lie::endless_notes);
    fleet.run();
    REQUIRE(t.failure);
    CHECK(code_of(t.failure) == wire_errc::too_much_talk);
    CHECK(t.agent->abort_heard == "breach of the protocol: " + code_of(t.failure).message());
  }
}

}  // namespace diskdump
