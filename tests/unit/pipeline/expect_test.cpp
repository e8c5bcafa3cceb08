// Dumps of images that were dumped before: what is still the same needs no answer.
#include <fstream>

#include "image_fleet.hpp"

namespace diskdump {

namespace {

constexpr std::size_t blocks = 300;

// The same target as in `first`, some time later. The agent begins once it has heard what `known`
// is expected to be.
fleet_of_images::target& again(fleet_of_images& fleet, byte_vector image,
                               std::optional<block_index> known = block_index{blocks - 1}) {
  auto& t = fleet.dump(std::move(image));
  t.agent->waits_for_expectation = known;
  fleet.run();
  return t;
}

void dump_first(fleet_of_images& fleet, byte_vector const& image) {
  auto& t = fleet.dump(image);
  fleet.run();
  REQUIRE_FALSE(t.failure);
}

void flip(byte_vector& image, std::size_t block) { image[block * block_bytes] ^= std::byte{1}; }

// Of few blocks that repeat, to be stored in no time.
byte_vector repeating_image(std::size_t count, unsigned seed) {
  auto const some = random_image(60 * block_bytes, seed);
  byte_vector image;
  while (image.size() < count * block_bytes) append_bytes(image, some);
  image.resize(count * block_bytes);
  return image;
}

// A manifest of the name with other blocks than the store has.
void write_manifest(fleet_of_images& fleet, std::string source, byte_vector const& image,
                    std::uint32_t bytes_of_block = block_bytes) {
  block_geometry const geometry{image.size(), bytes_of_block};
  manifest_writer manifest(
      fleet.folder.path, "disk",
      {.source = std::move(source), .date = "2030-01-01", .geometry = geometry, .extra = {}});
  for (block_index i; i.value < geometry.blocks().value; ++i) {
    manifest.add(
        sha256(byte_view(image).subspan(geometry.offset_bytes(i), geometry.length_bytes(i))));
  }
  (void)manifest.publish(fleet.timers.clock().wall_now());
}

}  // namespace

TEST_SUITE("expect") {
  TEST_CASE("an unchanged image is dumped without an answer, and counted as reused") {
    for (auto const kind : {store_format::loose, store_format::pack}) {
      fleet_of_images fleet(kind);
      fleet.batch_blocks = 8;
      auto image = random_image(blocks * block_bytes + 17, 1);
      std::fill_n(image.begin() + 100 * block_bytes, 50 * block_bytes, std::byte{0});
      dump_first(fleet, image);
      auto& t = again(fleet, image, block_index{blocks});
      REQUIRE_FALSE(t.failure);
      CHECK(t.agent->verdicts_heard == 0);
      CHECK(t.agent->blocks_sent == 0);
      CHECK(t.agent->blocks_expected == 251);
      CHECK(t.progress.blocks_reused.value == 251);
      CHECK(t.progress.blocks_zero.value == 50);
      CHECK(t.progress.blocks_stored.value == 0);
      CHECK(t.progress.announced_bytes == image.size());
      CHECK(fleet.restored(t.manifest) == image);
    }
  }

  TEST_CASE("what changed is asked for, sent and stored, wherever it is") {
    fleet_of_images fleet;
    fleet.batch_blocks = 8;
    auto image = random_image(blocks * block_bytes, 2);
    dump_first(fleet, image);
    for (std::size_t const i : {0, 1, 77, 150, 151, 152, 153, 154, 155, 156, 157, 158, 299}) {
      flip(image, i);
    }
    std::fill_n(image.begin() + 200 * block_bytes, 10 * block_bytes, std::byte{0});
    auto& t = again(fleet, image);
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_sent == 13);
    CHECK(t.agent->verdicts_heard == 13);
    CHECK(t.progress.blocks_stored.value == 13);
    CHECK(t.progress.blocks_zero.value == 10);
    CHECK(t.progress.blocks_reused.value == 277);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("an image may have grown or shrunk") {
    auto const image = random_image(blocks * block_bytes + 5, 3);
    for (std::size_t const bytes :
         {std::size_t{0}, std::size_t{block_bytes}, 100 * std::size_t{block_bytes} + 1,
          400 * std::size_t{block_bytes} + 1}) {
      CAPTURE(bytes);
      fleet_of_images fleet;
      dump_first(fleet, image);
      auto other = image;
      auto const more = random_image(bytes > image.size() ? bytes - image.size() : 0, 4);
      append_bytes(other, more);
      other.resize(bytes);
      auto& t = again(fleet, other, std::nullopt);
      REQUIRE_FALSE(t.failure);
      CHECK(fleet.restored(t.manifest) == other);
    }
  }

  TEST_CASE("blocks that the store lacks are not expected") {
    fleet_of_images fleet;
    auto const image = random_image(blocks * block_bytes, 5);
    dump_first(fleet, image);
    auto const lost = sha256(byte_view(image).subspan(10 * block_bytes, block_bytes));
    fleet.store->remove(std::span(&lost, 1));
    auto& t = again(fleet, image);
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_expected == blocks - 1);
    CHECK(t.agent->blocks_sent == 1);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("an image with more blocks than are told ahead is expected as a whole") {
    fleet_of_images fleet;
    fleet.batch_blocks = 8;
    auto const many = 2 * limits::expected_ahead_blocks + 100;
    auto const image = repeating_image(many, 6);
    dump_first(fleet, image);
    auto& t = fleet.dump(image);
    t.agent->waits_for_all = true;
    t.agent->waits_for_expectation = block_index{limits::expected_ahead_blocks - 1};
    // The manifest that is read goes away meanwhile.
    t.agent->on_expectation = [path = find_manifest(fleet.folder.path, "disk")] {
      CHECK(std::filesystem::remove(path));
    };
    fleet.run();
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_expected == many);
    CHECK(t.agent->blocks_sent == 0);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("an image that shrank by more than is told ahead ends well") {
    fleet_of_images fleet;
    auto image = repeating_image(2 * limits::expected_ahead_blocks, 13);
    dump_first(fleet, image);
    image.resize(100 * block_bytes);
    // The last block has to be sent, so that END comes by itself. What there is room for is told
    // then, and more waits for room.
    flip(image, 99);
    auto& t = again(fleet, image, block_index{limits::expected_ahead_blocks - 1});
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_expected == 99);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("an attempt that goes on in the middle expects from there on") {
    fleet_of_images fleet;
    fleet.batch_blocks = 8;
    auto const before = random_image(blocks * block_bytes, 7);
    dump_first(fleet, before);
    auto image = before;
    for (std::size_t i = 0; i < 100; ++i) flip(image, i);
    auto& t = fleet.dump(image, lie::dies_half_way);
    t.agent->dies_after = 50;
    fleet.run();
    REQUIRE(t.failure);
    fleet.again(t, image);
    t.agent->waits_for_expectation = block_index{blocks - 1};
    fleet.run();
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->first.value > 0);
    CHECK(t.agent->blocks_expected == blocks - 100);
    CHECK(t.progress.blocks_stored.value + t.progress.blocks_reused.value == blocks);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("a manifest that is of no use is no failure, and nothing is expected") {
    fleet_of_images fleet;
    auto const image = random_image(blocks * block_bytes, 8);
    dump_first(fleet, image);
    SUBCASE("another block size") { write_manifest(fleet, "host:/disk", image, 8192); }
    SUBCASE("of another machine") { write_manifest(fleet, "other:/disk", image); }
    SUBCASE("of a machine whose name begins alike") { write_manifest(fleet, "hos", image); }
    SUBCASE("damaged") { std::ofstream(find_manifest(fleet.folder.path, "disk")) << "nonsense\n"; }
    auto& t = again(fleet, image, std::nullopt);
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_expected == 0);
    CHECK(t.agent->verdicts_heard == blocks);
    CHECK(t.progress.blocks_reused.value == blocks);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("a manifest that is damaged further down is used up to there") {
    fleet_of_images fleet;
    auto const image = random_image(blocks * block_bytes, 9);
    dump_first(fleet, image);
    auto const path = find_manifest(fleet.folder.path, "disk");
    // One byte of a digest; lines are 65 bytes long.
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-5 * 65, std::ios::end);
    file << '!';
    file.close();
    auto& t = again(fleet, image, block_index{limits::expected_ids_max - 1});
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_expected == limits::expected_ids_max);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("another path of the same machine under the same name is expected") {
    fleet_of_images fleet;
    auto const image = random_image(blocks * block_bytes, 10);
    dump_first(fleet, image);
    write_manifest(fleet, "host:/snapshot/2", image);
    auto& t = again(fleet, image);
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_expected == blocks);
  }

  TEST_CASE("an agent that says of a block that it is as expected where nothing was is refused") {
    fleet_of_images fleet;
    auto& t = fleet.dump(random_image(blocks * block_bytes, 11), lie::all_as_expected);
    fleet.run();
    REQUIRE(t.failure);
    CHECK(code_of(t.failure) == wire_errc::not_asked_for);
    CHECK(t.manifest.empty());
  }

  TEST_CASE("targets of one name at once, some of them changed, come back as they were") {
    fleet_of_images fleet;
    auto image = random_image(blocks * block_bytes, 12);
    dump_first(fleet, image);
    std::vector<byte_vector> images;
    for (std::size_t i = 0; i < 4; ++i) {
      for (std::size_t at = i; at < blocks; at += 30) flip(image, at);
      images.push_back(image);
      fleet.dump(image);
    }
    fleet.run();
    for (std::size_t i = 0; i < 4; ++i) {
      auto const& t = *fleet.targets[i + 1];
      REQUIRE_FALSE(t.failure);
      CHECK(fleet.restored(t.manifest) == images[i]);
      CHECK(t.progress.blocks_reused.value + t.progress.blocks_stored.value == blocks);
    }
  }
}

}  // namespace diskdump
