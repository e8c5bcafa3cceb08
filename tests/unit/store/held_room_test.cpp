// What still fits on a disk that blocks have filled.
#include <sys/stat.h>

#include <filesystem>

#include "small_mount.hpp"
#include "store/digest_list.hpp"
#include "store/held_room.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

// Puts blocks of these numbers from `first` on until there is no room; returns the first that did
// not fit.
std::uint64_t fill_store(block_store& store, std::uint64_t first) {
  for (auto i = first; i < first + 100'000; ++i) {
    auto const block = make_block(i);
    try {
      (void)store.put(block.id, block.frame);
    } catch (error const& failure) {
      CHECK(failure.code() == store_errc::store_full);
      CHECK(failure.cause().find("no space left") != std::string::npos);
      CHECK_FALSE(failure.remedy().empty());
      return i;
    }
  }
  FAIL("the disk did not fill up");
  return 0;
}

store_open_options of_format(store_format kind) {
  store_open_options options;
  options.create_format = kind;
  return options;
}

bool fits(block_store& store, std::uint64_t number) {
  auto const block = make_block(number);
  try {
    (void)store.put(block.id, block.frame);
    return true;
  } catch (error const& failure) {
    CHECK(failure.code() == store_errc::store_full);
    return false;
  }
}

}  // namespace

TEST_SUITE("held_room") {
  TEST_CASE("on a full disk what was put gets its rows, and images of it their manifests") {
    for (auto const kind : both_formats) {
      small_mount const mount("size=16m");
      if (!mount.mounted()) return;
      std::uint64_t end = 0;
      std::vector<std::uint64_t> stored;
      {
        auto const store = open_test_store(mount.path(), of_format(kind));
        end = fill_store(*store, 0);
        REQUIRE(end > 1000);
        for (std::uint64_t i = 0; i < end; ++i) stored.push_back(i);
        store->barrier();
        CHECK(store->stats().blocks == end);
        // Its text would not fit beside the blocks, nor in packs its lists, which are blocks, too.
        (void)publish_image(mount.path(), "image", stored, store.get());
        // Whoever has nothing new goes on, too.
        store->barrier();
        CHECK_FALSE(fits(*store, end + 1));
      }
      auto const store = open_test_store(mount.path());
      for (auto const i : stored) CHECK(store->get(make_block(i).id) == make_block(i).frame);
    }
  }

  TEST_CASE("a block that does not fit loses no other one") {
    for (auto const kind : both_formats) {
      small_mount const mount("size=8m");
      if (!mount.mounted()) return;
      auto const store = open_test_store(mount.path(), of_format(kind));
      auto const end = fill_store(*store, 0);
      // Another target of the same dump, before any barrier.
      CHECK_FALSE(fits(*store, end + 1));
      CHECK(store->put(make_block(1).id, make_block(1).frame) == false);
      store->barrier();
      CHECK(store->stats().blocks == end);
      CHECK(holds(*store, make_block(end - 1).id));
    }
  }

  TEST_CASE("lists of digests leave most of the room that is kept back to rows") {
    small_mount const mount("size=16m");
    if (!mount.mounted()) return;
    auto const store = open_test_store(mount.path(), of_format(store_format::pack));
    (void)fill_store(*store, 0);
    store->barrier();
    std::vector<block_id> digests;
    for (std::uint64_t i = 0; i < limits::list_digests_max; ++i)
      digests.push_back(make_block(i).id);
    std::vector<block_id> lists;
    for (std::uint64_t i = 0; lists.size() < 100; ++i) {
      digests.back() = make_block(limits::list_digests_max + i).id;
      try {
        lists.push_back(put_list(*store, digests));
      } catch (error const& failure) {
        CHECK(failure.code() == store_errc::store_full);
        break;
      }
    }
    // A fifth of an eighth of 16 MiB, less what the index and the empty store took before.
    CHECK(lists.size() >= 2);
    CHECK(lists.size() <= 3);
    store->barrier();
    for (auto const& list : lists) CHECK(holds(*store, list));
  }

  TEST_CASE("once there is room again blocks are taken again") {
    for (auto const kind : both_formats) {
      small_mount const mount("size=8m");
      if (!mount.mounted()) return;
      auto const ballast = mount.path() + "/ballast";
      write_text(ballast, std::string(4U << 20, 'x'));
      auto const store = open_test_store(mount.path(), of_format(kind));
      auto const end = fill_store(*store, 0);
      CHECK_FALSE(fits(*store, end));
      std::filesystem::remove(ballast);
      CHECK(fits(*store, end));
      store->barrier();
      CHECK(store->stats().blocks == end + 1);
    }
  }

  TEST_CASE("rows and manifests that meet the full disk first have the room given up for them") {
    test_folder const folder;
    auto const files = make_posix_file_system(folder.path());
    scratch_folder scratch(folder.path(), *files, store_layout(""));
    held_room room(*files, scratch, folder.path());
    auto const full = cannot_write(ENOSPC, "write", "somewhere");
    int calls = 0;
    auto const fail_once = [&] {
      if (++calls == 1) throw full;
    };
    // Nothing was taken, so there is nothing to give.
    CHECK(thrown_by([&] { room.use(fail_once); }).code() == store_errc::store_full);
    CHECK(calls == 1);
    room.before_block();
    calls = 0;
    room.use(fail_once);
    CHECK(calls == 2);
    // Given up by one, it helps those who failed beside it.
    calls = 0;
    room.use(fail_once);
    CHECK(calls == 2);
    // What is no want of room is not tried again.
    calls = 0;
    CHECK_THROWS_AS(room.use([&] {
      ++calls;
      throw cannot_write(EIO, "write", "somewhere");
    }),
                    error);
    CHECK(calls == 1);
  }

  TEST_CASE("packs give back what they had reserved and did not use") {
    test_folder const folder(std::filesystem::temp_directory_path());
    auto const used_bytes = [&] {
      struct stat status{};
      REQUIRE(::stat((folder / ".blockstore/packs/000001.pack").c_str(), &status) == 0);
      return static_cast<std::uint64_t>(status.st_blocks) * 512;
    };
    {
      auto const store = open_test_store(folder.path(), of_format(store_format::pack));
      (void)store->put(make_block(1).id, make_block(1).frame);
      store->barrier();
    }
    CHECK(used_bytes() <= 16384);
  }
}

}  // namespace diskdump
