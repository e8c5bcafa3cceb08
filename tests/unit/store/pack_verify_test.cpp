// verify and reindex on packs: what differs from block files. What is the same is in
// verify_test.cpp.
#include <atomic>
#include <cerrno>
#include <set>
#include <thread>

#include "faulty_file_system.hpp"
#include "pack_support.hpp"
#include "store/block_shelf.hpp"
#include "store/gc.hpp"
#include "store/lease.hpp"
#include "store/reindex.hpp"
#include "store/verify.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

reindex_report reindex(std::string const& base, reindex_options options = {}) {
  work_monitor monitor;
  options.threads = 3;
  return rebuild_index(base, options, monitor);
}

}  // namespace

TEST_SUITE("pack_verify") {
  TEST_CASE("each kind of damage is found and named with what it hits, and the next dump heals") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 6);  // pack 1
    put_blocks(folder.path(), 6, 2);  // pack 2
    put_blocks(folder.path(), 8, 2);  // pack 3
    publish_image(folder.path(), "a", {0, 1, 2, 3, 8});
    publish_image(folder.path(), "b", {7, 1, 1, 6, 1});
    damage_block(folder.path(), make_block(1).id, 100);  // its data
    damage_block(folder.path(), make_block(3).id, 20);   // its header
    auto const row = row_of(folder.path(), make_block(7).id);
    REQUIRE(row.has_value());
    auto const second = pack_file_path(folder.path(), 2);
    fs::resize_file(second, row->place.offset + 100);
    fs::remove(pack_file_path(folder.path(), 3));

    auto const report = verify(folder.path());
    CHECK(report.damages_total == 5);
    REQUIRE(find_damage(report, 1) != nullptr);
    CHECK(find_damage(report, 1)->what == kind::damaged);
    CHECK(find_damage(report, 1)->path.starts_with(".blockstore/packs/000001.pack at "));
    CHECK(fs::exists(folder / find_damage(report, 1)->quarantined));
    REQUIRE(find_damage(report, 3) != nullptr);
    CHECK(find_damage(report, 3)->what == kind::damaged);
    REQUIRE(find_damage(report, 7) != nullptr);
    CHECK(find_damage(report, 7)->what == kind::truncated);
    for (std::uint64_t const number : {8, 9}) {
      REQUIRE(find_damage(report, number) != nullptr);
      CHECK(find_damage(report, number)->what == kind::missing);
    }
    // 1 in both images, twice in a row in one; 3, 8; 7.
    CHECK(report.ranges_total == 6);
    // What manifests name is missing now, and nothing else is wrong.
    auto const again = verify(folder.path());
    CHECK(again.damages_total == 4);
    for (auto const& damage : again.damages) CHECK(damage.what == kind::missing);
    put_blocks(folder.path(), 0, 10);
    CHECK(verify(folder.path()).all_well());
    check_store(folder.path());
  }

  TEST_CASE("a bad sector is damage, a shortage of descriptors or memory is none") {
    for (auto const format : both_formats) {
      CAPTURE(static_cast<int>(format));
      test_folder const folder;
      make_store(folder.path(), format);
      put_blocks(folder.path(), 0, 1);
      auto const id = make_block(0).id;
      bool const is_pack = format == store_format::pack;
      auto const row = is_pack ? row_of(folder.path(), id) : std::nullopt;
      auto const blockstore = folder / ".blockstore";
      faulty_file_system files(blockstore);
      store_layout const layout("");
      auto const shelf = is_pack ? make_pack_shelf(files, layout, blockstore, durability::barrier)
                                 : make_loose_shelf(files, layout);
      auto const examined = [&] {
        upkeep_block block{.id = id, .has_file = true};
        if (row) {
          block.stored_bytes = row->stored_bytes;
          block.place = row->place;
        }
        auto found = block_condition::kind::absent;
        shelf->examine(std::span(&block, 1),
                       [&](auto const&, auto const& condition) { found = condition.what; });
        return found;
      };
      CHECK(examined() == block_condition::kind::good);
      int failure = 0;
      files.before = [&](faulty_file_system::call what, std::string const& path) {
        if (what != faulty_file_system::call::read) return;
        throw disk_error(failure, io_direction::read, "test", path);
      };
      for (int const loss : {EIO, ENODATA, EILSEQ, EREMOTEIO, EBADMSG, EUCLEAN}) {
        CAPTURE(loss);
        failure = loss;
        CHECK(examined() == block_condition::kind::unreadable);
        // There is nothing that could be put aside.
        if (row) CHECK_FALSE(shelf->quarantine(*row));
      }
      for (int const other : {EMFILE, ENFILE, ENOMEM, ESTALE, ETIMEDOUT, EINVAL}) {
        CAPTURE(other);
        failure = other;
        CHECK_THROWS_AS(examined(), error);
      }
    }
  }

  TEST_CASE("without repair nothing is changed") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 3);
    publish_image(folder.path(), "a", {0, 1, 2});
    damage_block(folder.path(), make_block(1).id, 100);
    auto const before = tree_of(folder.path());
    auto const report = verify(folder.path(), {.repair = false});
    CHECK(report.damages_total == 1);
    CHECK(report.ranges_total == 1);
    CHECK(tree_of(folder.path()) == before);
  }

  TEST_CASE("of one manifest only its blocks are read") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 10);
    verify_options options;
    options.manifest = folder / publish_image(folder.path(), "a", {0, 1, 2, 1});
    auto report = verify(folder.path(), options);
    CHECK(report.all_well());
    CHECK(report.blocks == 4);  // one of them is its list
    damage_block(folder.path(), make_block(2).id, 100);
    report = verify(folder.path(), options);
    CHECK(report.damages_total == 1);
  }

  TEST_CASE("samples cover every block over runs") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 300);
    publish_image(folder.path(), "a", numbers(0, 300));
    std::uint64_t blocks = 0;
    for (int run = 0; run < 4; ++run) {
      auto const report = verify(folder.path(), {.sample_percent = 25});
      CHECK(report.all_well());
      blocks += report.blocks;
    }
    CHECK(blocks == 301);  // with the list
  }

  TEST_CASE("beside a collector that copies packs nothing looks damaged") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    for (std::uint64_t i = 0; i < 20; ++i) put_blocks(folder.path(), i * 20, 20);
    std::vector<std::uint64_t> kept;
    for (std::uint64_t i = 0; i < 400; i += 7) kept.push_back(i);
    publish_image(folder.path(), "image", kept);
    std::jthread collecting([&] { (void)collect(folder.path()); });
    for (int run = 0; run < 20; ++run) CHECK(verify(folder.path(), {.repair = false}).all_well());
    collecting.join();
    check_store(folder.path());
  }
}

TEST_SUITE("pack_reindex") {
  TEST_CASE("rows that lie go, entries without a row get one, sizes are put right") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 6);
    put_blocks(folder.path(), 6, 1);  // pack 2
    damage_block(folder.path(), make_block(1).id, 100);
    fs::remove(pack_file_path(folder.path(), 2));
    {
      auto const path = folder / ".blockstore/packs.db";
      sqlite_connection const db(path, SQLITE_OPEN_READWRITE, path, std::chrono::seconds(1));
      auto const key = "x'" + make_block(2).id.hex() + "'";
      db.execute(("UPDATE blocks SET compressed_size = 1 WHERE hash = " + key).c_str());
      auto const gone = "x'" + make_block(3).id.hex() + "'";
      db.execute(("DELETE FROM blocks WHERE hash = " + gone).c_str());
      auto const moved = "x'" + make_block(4).id.hex() + "'";
      db.execute(("UPDATE blocks SET offset = offset + 8 WHERE hash = " + moved).c_str());
    }
    auto const report = reindex(folder.path());
    CHECK(report.rows_before == 6);
    CHECK(report.rows_corrected == 1);
    auto const store = open_pack_store(folder.path());
    CHECK(store->stats().blocks == 5);
    for (std::uint64_t const number : {0, 2, 3, 4, 5}) CHECK(holds(*store, make_block(number).id));
    CHECK_FALSE(holds(*store, make_block(1).id));
    CHECK_FALSE(holds(*store, make_block(6).id));
    check_store(folder.path());
  }

  TEST_CASE("an index that is gone, or no database, is built from whole entries only") {
    for (bool const garbage : {false, true}) {
      test_folder const folder;
      (void)open_pack_store(folder.path());
      put_blocks(folder.path(), 0, 6);
      damage_block(folder.path(), make_block(1).id, 100);
      for (auto const* const name : {"packs.db", "packs.db-wal", "packs.db-shm"}) {
        fs::remove(folder / (std::string(".blockstore/") + name));
      }
      if (garbage) write_text(folder / ".blockstore/packs.db", std::string(5000, 'x'));
      auto const report = reindex(folder.path());
      CHECK(report.rows_added == 5);
      CHECK(report.moved_aside.empty() != garbage);
      CHECK(open_pack_store(folder.path())->stats().blocks == 5);
      check_store(folder.path());
    }
  }

  TEST_CASE("what lies around a bad sector is found when the index is built") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 20);
    std::vector<stored_block> rows;
    for (auto const number : numbers(0, 20)) {
      auto const row = row_of(folder.path(), make_block(number).id);
      REQUIRE(row.has_value());
      rows.push_back(*row);
    }
    auto const size_bytes = packs_of(folder.path()).front().size_bytes;
    auto const blockstore = folder / ".blockstore";
    faulty_file_system files(blockstore);
    auto const shelf = make_pack_shelf(files, store_layout(""), blockstore, durability::barrier);
    constexpr std::uint64_t sector_bytes = 4096;
    for (std::uint64_t bad = 1000; bad < size_bytes; bad += 1777) {
      CAPTURE(bad);
      files.spoil("000001.pack", bad);
      std::set<block_id> found;
      shelf->walk([&](stored_block const& block) { found.insert(block.id); });
      auto const sector = bad / sector_bytes * sector_bytes;
      for (auto const& row : rows) {
        auto const end = row.place.offset + limits::pack_entry_header_bytes + row.stored_bytes;
        bool const is_hit = row.place.offset <= bad && bad < end;
        bool const is_beside = row.place.offset < sector + sector_bytes && sector < end;
        if (is_hit) CHECK_FALSE(found.contains(row.id));
        if (!is_beside) CHECK(found.contains(row.id));
      }
    }
  }

  TEST_CASE("a row whose copy is damaged finds the other copy") {
    test_folder const folder;
    auto const one = open_pack_store(folder.path());
    auto const two = open_pack_store(folder.path());
    auto const block = make_block(1);
    CHECK(one->put(block.id, block.frame));
    CHECK(two->put(block.id, block.frame));  // neither has a row yet
    one->barrier();
    two->barrier();
    damage_block(folder.path(), block.id, 100);
    (void)reindex(folder.path());
    CHECK(holds(*open_pack_store(folder.path()), block.id));
    check_store(folder.path());
  }

  TEST_CASE("beside a running dump: its blocks get rows, and what gc condemned stays condemned") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 2);
    dump_lease const lease(folder.path(), "running");
    CHECK(collect(folder.path()).pending.blocks == 2);
    auto const store = open_pack_store(folder.path());
    CHECK(store->put(make_block(5).id, make_block(5).frame));
    CHECK(store->get(make_block(5).id) == make_block(5).frame);
    CHECK(reindex(folder.path()).rows_added == 1);
    CHECK(open_pack_store(folder.path())->stats().blocks == 1);
    store->barrier();
    check_store(folder.path());
  }
}

}  // namespace diskdump
