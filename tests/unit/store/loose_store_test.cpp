#include "store_conformance.hpp"

namespace diskdump {

TEST_SUITE("loose_store") {
  TEST_CASE("the loose store does what every store does") {
    test_folder const folder(std::filesystem::temp_directory_path());
    check_store_conformance([&] { return open_test_store(folder.path()); });
  }

  TEST_CASE("without durability it does the same") {
    test_folder const folder;
    check_store_conformance([&] {
      store_open_options options;
      options.level = durability::none;
      return open_test_store(folder.path(), options);
    });
  }

  TEST_CASE("a block is one LZ4 frame in a file named by its digest, and reopening finds it") {
    test_folder const folder;
    auto const block = make_block(1);
    {
      auto const store = open_test_store(folder.path());
      CHECK(store->put(block.id, block.frame));
      store->barrier();
    }
    CHECK(read_text(block_file(folder.path(), block.id)) == as_text(block.frame));
    CHECK(std::filesystem::is_empty(folder / ".blockstore/tmp"));
    auto const again = open_store(folder.path(), {});
    CHECK(holds(*again, block.id));
    CHECK(again->properties().block_bytes == 4096);
  }

  TEST_CASE("config.json has the text that 0.1.x writes") {
    test_folder const folder;
    store_open_options options;
    options.create_block_bytes = 131072;
    (void)open_store(folder.path(), options);
    CHECK(read_text(folder / ".blockstore/config.json") ==
          "{\n  \"block_size\": 131072,\n  \"hash_algo\": \"sha256\",\n  \"version\": 1\n}");
  }
}

}  // namespace diskdump
