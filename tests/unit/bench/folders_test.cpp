#include "bench/folders.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "bench/bench_errc.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

std::error_code refusal(std::string const& path) {
  try {
    store_folder const folder(path, false);
    return {};
  } catch (error const& e) {
    CHECK_FALSE(e.remedy().empty());
    CHECK(e.path() == path);
    return e.code();
  }
}

}  // namespace

TEST_SUITE("bench folders") {
  TEST_CASE("a folder that holds anything is refused and stays as it is") {
    image_folder const scratch("/tmp");
    auto const path = scratch.path() + "/store";
    fs::create_directories(path + "/.blockstore");
    std::ofstream(path + "/.blockstore/config.json") << "{}";
    CHECK(refusal(path) == bench_errc::folder_not_empty);
    CHECK(fs::exists(path + "/.blockstore/config.json"));
    fs::remove_all(path + "/.blockstore");
    std::ofstream(path + "/.hidden").flush();
    CHECK(refusal(path) == bench_errc::folder_not_empty);
    CHECK(fs::exists(path + "/.hidden"));
  }

  TEST_CASE("one that was there is empty at the end, one that was made is gone") {
    image_folder const scratch("/tmp");
    auto const there = scratch.path() + "/there", made = scratch.path() + "/made";
    fs::create_directory(there);
    for (auto const& path : {there, made}) {
      store_folder const folder(path, false);
      fs::create_directories(path + "/a/b");
      std::ofstream(path + "/a/b/c") << "12345";
      CHECK(folder.count().files == 1);
      CHECK(folder.count().bytes > 0);
    }
    CHECK(fs::is_empty(there));
    CHECK_FALSE(fs::exists(made));
  }

  TEST_CASE("with keep it stays") {
    image_folder const scratch("/tmp");
    auto const path = scratch.path() + "/store";
    {
      store_folder const folder(path, true);
      std::ofstream(path + "/x").flush();
    }
    CHECK(fs::exists(path + "/x"));
  }

  TEST_CASE("two benchmarks do not share a folder") {
    image_folder const scratch("/tmp");
    auto const path = scratch.path() + "/store";
    store_folder const folder(path, false);
    CHECK(refusal(path) == bench_errc::folder_busy);
    CHECK(fs::exists(path));
  }

  TEST_CASE("what lies behind a link within is not taken along") {
    image_folder const scratch("/tmp");
    auto const path = scratch.path() + "/store", precious = scratch.path() + "/precious";
    fs::create_directory(precious);
    std::ofstream(precious + "/x").flush();
    {
      store_folder const folder(path, false);
      fs::create_directory_symlink(precious, path + "/link");
    }
    CHECK_FALSE(fs::exists(path));
    CHECK(fs::exists(precious + "/x"));
  }

  TEST_CASE("a folder that took the place of ours is not emptied") {
    image_folder const scratch("/tmp");
    auto const path = scratch.path() + "/store";
    {
      store_folder const folder(path, false);
      fs::rename(path, path + "-moved");
      fs::create_directory(path);
      std::ofstream(path + "/x").flush();
    }
    CHECK(fs::exists(path + "/x"));
  }

  TEST_CASE("room that is not there is said before anything is written") {
    image_folder const scratch("/tmp");
    auto const room = room_bytes(scratch.path());
    REQUIRE(room > 0);
    CHECK(free_memory_bytes() > 0);
    check_room(scratch.path(), 1, "");
    try {
      check_room(scratch.path(), room * 2, "smaller");
      FAIL("it was let pass");
    } catch (error const& e) {
      CHECK(e.code() == bench_errc::no_room);
      CHECK(e.remedy() == "smaller");
    }
  }
}

}  // namespace diskdump
