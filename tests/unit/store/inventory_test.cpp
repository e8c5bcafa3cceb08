// What is told of images, stores and differences, on stores whose content is known.
#include "store/inventory.hpp"

#include "upkeep_support.hpp"

namespace diskdump {

namespace {

image_usage usage_of(std::string const& base, std::string const& path) {
  work_monitor monitor;
  return measure_image(base, base + "/" + path, 2, monitor);
}

store_usage usage_of(std::string const& base) {
  work_monitor monitor;
  return measure_store(base, 2, monitor);
}

struct found_difference {
  image_difference total;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
};

found_difference difference(std::string const& base, std::string const& a, std::string const& b) {
  found_difference found;
  found.total = compare_images(
      manifest_reader(base + "/" + a), manifest_reader(base + "/" + b),
      [&](changed_range const& r) { found.ranges.emplace_back(r.offset_bytes, r.length_bytes); });
  return found;
}

using ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

}  // namespace

TEST_SUITE("inventory") {
  TEST_CASE("an image's blocks are told from those of others") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 10);
    auto const a = publish_image(base, "a", {0, 1, 2, 2, 3});
    auto const b = publish_image(base, "b", {3, 4});
    auto const usage = usage_of(base, a);
    CHECK(usage.blocks_distinct == 4);
    CHECK(usage.blocks_unique == 3);
    CHECK(usage.blocks_shared == 1);
    CHECK(usage.blocks_missing == 0);
    CHECK(usage.blocks_zero == 0);
    std::uint64_t unique_bytes = 0;
    for (std::uint64_t i = 0; i < 3; ++i) unique_bytes += make_block(i).frame.size();
    CHECK(usage.stored_bytes_unique == unique_bytes);
    CHECK(usage.stored_bytes == unique_bytes + make_block(3).frame.size());
    CHECK(usage.header.source == "host:/dev/a");
    CHECK(usage_of(base, b).blocks_shared == 1);
  }

  TEST_CASE("the figures are the same whether rows are read in order or looked up") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 3000);
    std::vector<std::uint64_t> most;
    for (std::uint64_t i = 0; i < 2900; ++i) most.push_back(i);
    auto const large = publish_image(base, "large", most);
    auto const small = publish_image(base, "small", {7, 2950});
    auto const of_small = usage_of(base, small);
    CHECK(of_small.stored_bytes == make_block(7).frame.size() + make_block(2950).frame.size());
    CHECK(of_small.stored_bytes_unique == make_block(2950).frame.size());
    CHECK(of_small.blocks_missing == 0);
    auto const of_large = usage_of(base, large);
    CHECK(of_large.blocks_unique == 2899);
    CHECK(of_large.blocks_missing == 0);
    // Without an index the files are counted.
    std::filesystem::remove(base + "/.blockstore/blocks.db");
    CHECK(usage_of(base, small).stored_bytes == of_small.stored_bytes);
    CHECK(usage_of(base, large).stored_bytes == of_large.stored_bytes);
  }

  TEST_CASE("zero and missing blocks are counted") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 2);
    manifest_header header;
    header.geometry = {4 * 4096 + 100, 4096};
    manifest_writer writer(base, "a", header);
    writer.add(make_block(0).id);
    writer.add(zero_block_id(4096));
    writer.add(make_block(99).id);
    writer.add(zero_block_id(4096));
    writer.add(zero_block_id(100));
    auto const usage = usage_of(base, writer.publish(clock_source::wall{}));
    CHECK(usage.blocks_zero == 3);
    CHECK(usage.blocks_distinct == 4);
    CHECK(usage.blocks_missing == 3);
  }

  TEST_CASE("another manifest that is damaged is named, and the image is told of all the same") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 4);
    auto const a = publish_image(base, "a", {0, 1});
    auto const b = publish_image(base, "b", {1, 2});
    auto text = read_text(base + "/" + b);
    text[text.size() - 2] = 'g';
    write_text(base + "/" + b, text);
    auto const usage = usage_of(base, a);
    REQUIRE(usage.others_unread.size() == 1);
    CHECK(usage.others_unread[0].path == b);
    CHECK(usage.others_unread[0].why.find("line 8") != std::string::npos);
    CHECK(usage.blocks_distinct == 2);
    CHECK(usage_of(base).damaged.size() == 1);
  }

  TEST_CASE("a store's sums") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 10);
    publish_image(base, "a", {0, 1, 2, 2, 3});
    publish_image(base, "b", {3, 4});
    auto const usage = usage_of(base);
    CHECK(usage.manifests.size() == 2);
    CHECK(usage.image_bytes == 7 * 4096);
    CHECK(usage.blocks_named == 5);
    CHECK(usage.content_bytes == 5 * 4096);
    CHECK(usage.stored.blocks == 10);
    CHECK(usage.unnamed.blocks == 5);
    std::uint64_t unnamed_bytes = 0;
    for (std::uint64_t i = 5; i < 10; ++i) unnamed_bytes += make_block(i).frame.size();
    CHECK(usage.unnamed.stored_bytes == unnamed_bytes);
    CHECK(usage.blocks_missing == 0);
    CHECK(usage.running.empty());
    CHECK(usage.free_bytes.has_value());
  }

  TEST_CASE("nothing in the store is changed") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 4);
    auto const a = publish_image(base, "a", {0, 1});
    auto const before = tree_of(base);
    (void)usage_of(base, a);
    (void)usage_of(base);
    CHECK(tree_of(base) == before);
  }
}

TEST_SUITE("compare_images") {
  TEST_CASE("blocks that differ are joined to ranges") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 10);
    auto const a = publish_image(base, "a", {0, 1, 2, 3, 4});
    auto const b = publish_image(base, "b", {0, 5, 6, 3, 7});
    auto const found = difference(base, a, b);
    CHECK(found.ranges == ranges{{4096, 8192}, {16384, 4096}});
    CHECK(found.total.ranges == 2);
    CHECK(found.total.blocks == 3);
    CHECK(found.total.bytes == 12288);
    CHECK(difference(base, a, a).ranges.empty());
  }

  TEST_CASE("what only the longer image has is a change") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 10);
    auto const a = publish_image(base, "a", {0, 1});
    auto const b = publish_image(base, "b", {0, 1, 2, 3});
    CHECK(difference(base, a, b).ranges == ranges{{8192, 8192}});
    CHECK(difference(base, b, a).ranges == ranges{{8192, 8192}});
  }

  TEST_CASE("a last block that is shorter is told with the length of the longer image") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 1);
    auto const make = [&](std::string const& name, std::uint64_t bytes, std::uint64_t last) {
      manifest_header header;
      header.geometry = {bytes, 4096};
      manifest_writer writer(base, name, header);
      writer.add(make_block(0).id);
      writer.add(make_block(last).id);
      return writer.publish(clock_source::wall{});
    };
    auto const a = make("a", 4096 + 100, 1);
    auto const b = make("b", 4096 + 900, 2);
    CHECK(difference(base, a, b).ranges == ranges{{4096, 900}});
  }

  TEST_CASE("different block sizes cannot be compared") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 1);
    auto const a = publish_image(base, "a", {0, 0});
    manifest_header header;
    header.geometry = {8192, 8192};
    manifest_writer writer(base, "b", header);
    writer.add(make_block(0).id);
    auto const b = writer.publish(clock_source::wall{});
    auto const failure = thrown_by([&] { (void)difference(base, a, b); });
    CHECK(failure.code() == store_errc::block_size_differs);
    CHECK(std::string(failure.what()).find("8192") != std::string::npos);
  }
}

}  // namespace diskdump
