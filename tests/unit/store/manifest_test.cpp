#include "store/manifest.hpp"

#include "store_support.hpp"

namespace diskdump {

namespace {

// 2026-04-24T02:00:00Z
clock_source::wall const april{std::chrono::seconds(1776996000)};

manifest_header sample_header(std::uint64_t image_bytes) {
  manifest_header header;
  header.source = "server01:/dev/sda";
  header.date = iso_time(april);
  header.geometry = {image_bytes, 4096};
  return header;
}

std::string publish(std::string const& base, std::string const& name, std::uint64_t blocks,
                    std::string const& date = iso_time(april)) {
  auto header = sample_header(blocks * 4096);
  header.date = date;
  manifest_writer writer(base, name, header);
  for (std::uint64_t i = 0; i < blocks; ++i) writer.add(make_block(i).id);
  return writer.publish(april);
}

}  // namespace

TEST_SUITE("manifest") {
  TEST_CASE("what is written is the text of 0.1.x, and reads back") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    auto const a = make_block(1).id;
    auto const b = make_block(2).id;
    auto header = sample_header(4097);
    header.extra = {{"agent", "native"}};
    std::string path;
    {
      manifest_writer writer(folder.path(), "server01-sda", header);
      writer.add(a);
      writer.comment("bad_sectors", "512+512");
      writer.add(b);
      path = writer.publish(april);
    }
    CHECK(path == "2026/04/24/server01-sda.manifest");
    CHECK(read_text(folder / path) ==
          "# diskdump manifest v1\n# source: server01:/dev/sda\n"
          "# date: 2026-04-24T02:00:00+00:00\n# block_size: 4096\n# total_blocks: 2\n"
          "# total_size: 4097\n# agent: native\n" +
              a.hex() + "\n# bad_sectors: 512+512\n" + b.hex() + "\n");
    CHECK(std::filesystem::is_empty(folder / ".blockstore/tmp"));

    manifest_reader reader(folder / path);
    CHECK(reader.header().source == "server01:/dev/sda");
    CHECK(reader.header().geometry.image_bytes == 4097);
    CHECK(reader.next() == a);
    CHECK(reader.next() == b);
    CHECK_FALSE(reader.next().has_value());
    CHECK(reader.header().extra == std::vector<std::pair<std::string, std::string>>{
                                       {"agent", "native"}, {"bad_sectors", "512+512"}});
  }

  TEST_CASE("a second dump of the day stands beside the first") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    CHECK(publish(folder.path(), "a", 1) == "2026/04/24/a.manifest");
    CHECK(publish(folder.path(), "a", 2) == "2026/04/24/a.2.manifest");
    CHECK(publish(folder.path(), "a", 0) == "2026/04/24/a.3.manifest");
    auto const found = list_manifests(folder.path(), nullptr);
    REQUIRE(found.size() == 3);
    CHECK(found[2].path == "2026/04/24/a.3.manifest");
    CHECK(find_manifest(folder.path(), "a") == folder / "2026/04/24/a.3.manifest");
    CHECK(find_manifest(folder.path(), "a~1") == folder / "2026/04/24/a.2.manifest");
  }
}

}  // namespace diskdump
