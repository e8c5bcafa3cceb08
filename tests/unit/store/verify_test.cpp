#include "store/verify.hpp"

#include <sys/stat.h>

#include <set>

#include "faulty_file_system.hpp"
#include "small_mount.hpp"
#include "sqlite_trace.hpp"
#include "store/gc.hpp"
#include "store/lease.hpp"
#include "store/reindex.hpp"
#include "store_support.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;
block_damage const& damage_of(verify_report const& report, std::uint64_t number) {
  auto const id = make_block(number).id;
  for (auto const& damage : report.damages) {
    if (damage.id == id) return damage;
  }
  FAIL("block " << number << " is not among the damages");
  std::abort();
}

std::vector<damaged_range> ranges_of(verify_report const& report, std::uint64_t number) {
  auto const& damage = damage_of(report, number);
  std::vector<damaged_range> found;
  for (auto const& range : report.ranges) {
    if (&report.damages[range.damage] == &damage) found.push_back(range);
  }
  return found;
}

std::string file_of(test_folder const& folder, std::uint64_t number) {
  return block_file(folder.path(), make_block(number).id);
}

// What a dump of these blocks does: only what is missing is put.
std::size_t put_missing(std::string const& base, std::uint64_t first, std::uint64_t count) {
  auto const store = open_test_store(base);
  std::size_t stored = 0;
  for (auto i = first; i < first + count; ++i) {
    auto const block = make_block(i);
    if (holds(*store, block.id)) continue;
    (void)store->put(block.id, block.frame);
    ++stored;
  }
  store->barrier();
  return stored;
}

}  // namespace

TEST_SUITE("verify") {
  TEST_CASE("a whole store is all well, and all of it was read") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 20);
    publish_image(folder.path(), "a", {0, 1, 2, 0});
    auto const report = verify(folder.path());
    CHECK(report.all_well());
    CHECK(report.blocks == 20);
    CHECK(report.content_bytes == 20 * 4096);
    CHECK(report.manifests == 1);
    CHECK(report.unindexed == 0);
    CHECK_FALSE(fs::exists(folder / ".blockstore/quarantine"));
  }

  TEST_CASE(
      "each kind of damage is found and named with what it hits, and the next dump heals it") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 8);
    publish_image(folder.path(), "a", {0, 1, 2, 3, 4});
    publish_image(folder.path(), "b", {7, 1, 1, 6, 1});
    auto const frame = read_text(file_of(folder, 0));
    write_text(file_of(folder, 0), frame.substr(0, frame.size() - 20));
    write_text(file_of(folder, 1), "");
    fs::remove(file_of(folder, 2));
    write_text(file_of(folder, 3), as_text(make_block(99).frame));
    auto flipped = read_text(file_of(folder, 5));  // no manifest names it, but the index does
    flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 1);
    write_text(file_of(folder, 5), flipped);

    auto const report = verify(folder.path());
    CHECK_FALSE(report.all_well());
    CHECK(report.damages_total == 5);
    CHECK(damage_of(report, 0).what == kind::truncated);
    CHECK(damage_of(report, 1).what == kind::empty);
    CHECK(damage_of(report, 2).what == kind::missing);
    CHECK(damage_of(report, 3).what == kind::damaged);
    CHECK(damage_of(report, 5).what == kind::damaged);
    for (auto const number : {0, 1, 3, 5}) {
      auto const& damage = damage_of(report, static_cast<std::uint64_t>(number));
      CHECK_FALSE(fs::exists(folder / damage.path));
      CHECK(fs::exists(folder / damage.quarantined));
    }
    CHECK(damage_of(report, 2).quarantined.empty());

    auto const hits = ranges_of(report, 1);
    REQUIRE(hits.size() == 3);
    CHECK(hits[0].manifest == "2026/04/24/a.manifest");
    CHECK(hits[0].offset_bytes == 4096);
    CHECK(hits[0].length_bytes == 4096);
    CHECK(hits[1].manifest == "2026/04/24/b.manifest");
    CHECK(hits[1].offset_bytes == 4096);
    CHECK(hits[1].length_bytes == 8192);  // two neighbours
    CHECK(hits[2].offset_bytes == 4 * 4096);
    CHECK(ranges_of(report, 0).size() == 1);
    CHECK(ranges_of(report, 5).empty());

    // The same again: what manifests name is missing now, and nothing else is wrong.
    auto const again = verify(folder.path());
    CHECK(again.damages_total == 4);
    for (auto const& damage : again.damages) CHECK(damage.what == kind::missing);

    CHECK(put_missing(folder.path(), 0, 8) == 5);
    CHECK(verify(folder.path()).all_well());
    check_store(folder.path());
  }

  TEST_CASE("neighbours in one image are one range, however many threads tell of ranges") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    for (auto const* const name : {"a", "b", "c", "d", "e", "f"}) {
      publish_image(folder.path(), name, std::vector<std::uint64_t>(3000, 1));
    }
    fs::remove(file_of(folder, 1));
    work_monitor monitor;
    auto const report = verify_store(folder.path(), {.threads = 4}, monitor);
    CHECK(report.ranges_total == 6);
    for (auto const& hit : ranges_of(report, 1)) CHECK(hit.length_bytes == 3000 * 4096);
  }

  TEST_CASE("without repair nothing is changed") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 3);
    publish_image(folder.path(), "a", {0, 1, 2});
    write_text(file_of(folder, 1), "torn");
    fs::remove(file_of(folder, 2));
    auto const before = tree_of(folder.path());
    auto const report = verify(folder.path(), {.repair = false});
    CHECK(report.damages_total == 2);
    CHECK(report.ranges_total == 2);
    CHECK(tree_of(folder.path()) == before);
    CHECK_FALSE(fs::exists(folder / ".blockstore/leases"));
  }

  TEST_CASE("a torn leftover is no damage unless a manifest names it") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    write_text(file_of(folder, 5), "torn");
    auto report = verify(folder.path());
    CHECK(report.all_well());
    CHECK(report.leftovers == 1);
    publish_image(folder.path(), "a", {5});
    report = verify(folder.path());
    CHECK(report.damages_total == 1);
    CHECK(report.leftovers == 0);
    CHECK(ranges_of(report, 5).size() == 1);
  }

  TEST_CASE("a whole file without a row is counted and left alone") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    write_text(file_of(folder, 5), as_text(make_block(5).frame));
    auto const report = verify(folder.path());
    CHECK(report.all_well());
    CHECK(report.unindexed == 1);
    CHECK(report.blocks == 2);
  }

  TEST_CASE("a manifest that cannot be read is damage, with its line") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    auto const path = publish_image(folder.path(), "a", {0, 1});
    publish_image(folder.path(), "b", {0, 1});
    auto text = read_text(folder / path);
    text[text.size() - 3] = 'z';
    write_text(folder / path, text);
    auto const report = verify(folder.path());
    CHECK_FALSE(report.all_well());
    REQUIRE(report.manifests_damaged.size() == 1);
    CHECK(report.manifests_damaged[0].manifest == path);
    CHECK(report.manifests_damaged[0].why.find("line 8") != std::string::npos);
  }

  TEST_CASE("of one manifest only its blocks are read, and what else they hit is named") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 10);
    auto const a = publish_image(folder.path(), "a", {0, 1, 2, 1});
    publish_image(folder.path(), "b", {2, 9});
    write_text(file_of(folder, 9), "torn");
    verify_options options;
    options.manifest = folder / a;
    auto report = verify(folder.path(), options);
    CHECK(report.all_well());
    CHECK(report.blocks == 3);
    CHECK(report.manifests == 1);
    write_text(file_of(folder, 2), "torn");
    fs::remove(file_of(folder, 0));
    report = verify(folder.path(), options);
    CHECK(report.damages_total == 2);
    CHECK(ranges_of(report, 2).size() == 2);
    CHECK(ranges_of(report, 0).size() == 1);
    CHECK(fs::exists(file_of(folder, 9)));
  }

  TEST_CASE("samples cover every block over runs, and each finds the damage in its part") {
    for (bool const repair : {true, false}) {
      CAPTURE(repair);
      test_folder const folder;
      constexpr std::uint64_t count = 300;
      put_blocks(folder.path(), 0, count);
      std::vector<std::uint64_t> all(count);
      for (std::uint64_t i = 0; i < count; ++i) all[i] = i;
      publish_image(folder.path(), "a", all);
      fs::remove(file_of(folder, 7));
      write_text(file_of(folder, 8), "torn");
      auto const before = tree_of(folder.path());
      std::uint64_t blocks = 0;
      std::set<std::string> damaged;
      verify_options options;
      options.sample_percent = 30;
      options.repair = repair;
      for (int run = 0; run < 4; ++run) {
        auto const report = verify(folder.path(), options);
        CHECK(report.sample_from == doctest::Approx(30.0 * run).epsilon(0.001));
        CHECK(report.blocks > count * 2 / 10);
        CHECK(report.blocks < count * 4 / 10);
        blocks += report.blocks;
        for (auto const& damage : report.damages) damaged.insert(damage.path);
      }
      CHECK(blocks >= count - 1);
      CHECK(damaged.size() == 2);
      if (repair) continue;
      fs::remove(folder / ".blockstore/verify-cursor");
      CHECK(tree_of(folder.path()) == before);
    }
  }

  TEST_CASE("a sample of a store that cannot be written begins somewhere else each time") {
    small_mount const disk("size=32m");
    if (!disk.mounted()) return;
    put_blocks(disk.path(), 0, 3);
    verify_options options;
    options.sample_percent = 1;
    options.repair = false;
    (void)verify(disk.path(), options);
    disk.make_read_only();
    std::set<double> begun;
    for (int run = 0; run < 8; ++run) begun.insert(verify(disk.path(), options).sample_from);
    // One of 65,536 places each.
    CHECK(begun.size() > 1);
  }

  TEST_CASE("without repair, what a collector is just deleting is not missing") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 3);
    publish_image(folder.path(), "image", {0, 1});
    dump_lease const running(folder.path(), "what is condemned waits for this one");
    sqlite_trace trace;
    bool collected = false;
    // The row is being handed out. The collector's step has deleted the file, and not ended yet.
    trace.row = [&](std::string_view sql) {
      if (collected || !is_of_table(sql) || sql.find("count(") != std::string_view::npos) return;
      collected = true;
      CHECK(collect(folder.path()).pending.blocks == 1);
      fs::remove(file_of(folder, 2));
    };
    // One thread, which is the one that is traced.
    work_monitor monitor;
    CHECK(verify_store(folder.path(), {.repair = false, .threads = 1}, monitor).all_well());
    CHECK(collected);
  }

  TEST_CASE("told to stop, it says so") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 5);
    work_monitor monitor;
    monitor.stop = true;
    CHECK(verify_store(folder.path(), {}, monitor).stopped);
  }
}

TEST_SUITE("reindex") {
  reindex_report reindex(std::string const& base, reindex_options options = {}) {
    work_monitor monitor;
    options.threads = 3;
    return rebuild_index(base, options, monitor);
  }

  TEST_CASE("rows that lie go, whole files without a row get one, sizes are put right") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 6);
    fs::remove(file_of(folder, 0));
    write_text(file_of(folder, 1), "torn");
    write_text(file_of(folder, 7), as_text(make_block(7).frame));
    write_text(file_of(folder, 8), "torn");
    {
      auto const path = folder / ".blockstore/blocks.db";
      sqlite_connection const db(path, SQLITE_OPEN_READWRITE, path, std::chrono::seconds(1));
      db.execute(
          ("UPDATE blocks SET compressed_size = 1 WHERE hash = '" + make_block(2).id.hex() + "'")
              .c_str());
    }
    auto const report = reindex(folder.path());
    CHECK(report.rows_before == 6);
    CHECK(report.rows_removed == 2);
    CHECK(report.rows_added == 1);
    CHECK(report.rows_corrected == 1);
    CHECK(report.blocks_set_aside == 1);
    auto const store = open_test_store(folder.path());
    CHECK(store->stats().blocks == 5);
    CHECK_FALSE(holds(*store, make_block(0).id));
    CHECK_FALSE(holds(*store, make_block(1).id));
    CHECK(holds(*store, make_block(7).id));
    CHECK_FALSE(holds(*store, make_block(8).id));
    check_store(folder.path());
  }

  TEST_CASE("an index that is gone, or no database, is built from whole files only") {
    for (bool const garbage : {false, true}) {
      test_folder const folder;
      put_blocks(folder.path(), 0, 6);
      write_text(file_of(folder, 1), "torn");
      for (auto const* const name : {"blocks.db", "blocks.db-wal", "blocks.db-shm"}) {
        fs::remove(folder / (std::string(".blockstore/") + name));
      }
      if (garbage) write_text(folder / ".blockstore/blocks.db", std::string(5000, 'x'));
      auto const report = reindex(folder.path());
      CHECK(report.rows_added == 5);
      CHECK(report.moved_aside.empty() != garbage);
      if (garbage) CHECK(fs::exists(report.moved_aside));
      CHECK(open_test_store(folder.path())->stats().blocks == 5);
      check_store(folder.path());
    }
  }

  TEST_CASE("a damaged index is not moved away under a running dump") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    dump_lease const lease(folder.path(), "running");
    write_text(folder / ".blockstore/blocks.db", std::string(5000, 'x'));
    CHECK(thrown_by([&] { (void)reindex(folder.path()); }).code() == store_errc::busy);
    CHECK(read_text(folder / ".blockstore/blocks.db") == std::string(5000, 'x'));
  }

  TEST_CASE("an index is not moved away under a running gc, nor opened by one before its turn") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    auto const running = lock_file::wait_for(folder / ".blockstore/gc.lock");
    write_text(folder / ".blockstore/blocks.db", std::string(5000, 'x'));
    CHECK(thrown_by([&] { (void)reindex(folder.path()); }).code() == store_errc::busy);
    CHECK(read_text(folder / ".blockstore/blocks.db") == std::string(5000, 'x'));
    CHECK(thrown_by([&] { (void)collect(folder.path()); }).code() == store_errc::busy);
  }

  // As SQLite's own check sees it, and nobody else.
  void damage_index(std::string const& base) {
    std::fstream db(base + "/.blockstore/blocks.db", std::ios::in | std::ios::out);
    db.seekp(39);  // how many pages are free; there is no list of them
    db.put(1);
    REQUIRE(db.good());
  }

  bool is_busy_for_reindex(std::string const& base) {
    try {
      (void)reindex(base);
    } catch (error const& failure) {
      return failure.code() == store_errc::busy;
    }
    return false;
  }

  // When a store has its index open, and before it is handed out.
  template <class Action>
  callback_log when_open(std::string const& base, Action action) {
    fs::create_directory(base + "/.blockstore/tmp/of-a-dead-owner");
    return {log_level::info, [action](log_level, std::string_view) { action(); }};
  }

  TEST_CASE("a damaged index is not moved away under a dump that has just opened it") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    damage_index(folder.path());
    bool refused = false;
    auto log = when_open(folder.path(), [&] { refused = is_busy_for_reindex(folder.path()); });
    {
      auto const opened = open_leased_store(folder.path(), {.log = &log}, "running");
      CHECK(opened.store->put(make_block(1).id, make_block(1).frame));
      opened.store->barrier();
    }
    CHECK(refused);
    CHECK(open_test_store(folder.path())->stats().blocks == 2);
    CHECK(reindex(folder.path()).rows_added == 2);
    check_store(folder.path());
  }

  TEST_CASE("a damaged index is not moved away under a verify that sets bad blocks aside") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    write_text(file_of(folder, 1), "torn");
    damage_index(folder.path());
    bool refused = false;
    auto log = when_open(folder.path(), [&] { refused = is_busy_for_reindex(folder.path()); });
    CHECK(verify(folder.path(), {.log = &log}).damages_total == 1);
    CHECK(refused);
    CHECK_FALSE(holds(*open_test_store(folder.path()), make_block(1).id));
    CHECK(held_leases(folder.path()).empty());
    CHECK(reindex(folder.path()).rows_added == 1);
    check_store(folder.path());
  }

  TEST_CASE("beside a running dump: its files get rows, and what gc condemned stays condemned") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    dump_lease const lease(folder.path(), "running");
    work_monitor monitor;
    CHECK(collect_garbage(folder.path(), {}, monitor).pending.blocks == 2);
    auto const store = open_test_store(folder.path());
    CHECK(store->put(make_block(5).id, make_block(5).frame));
    auto const report = reindex(folder.path());
    CHECK(report.rows_added == 1);
    CHECK(open_test_store(folder.path())->stats().blocks == 1);
    store->barrier();
    check_store(folder.path());
  }

  TEST_CASE("rows come after the sync of the files that were found") {
    for (auto const how :
         {faulty_file_system::cut::empties_files, faulty_file_system::cut::undoes_changes}) {
      test_folder const folder;
      (void)open_test_store(folder.path());
      dump_lease const lease(folder.path(), "running");
      faulty_file_system files(folder.path());
      auto const running = open_test_store(folder.path(), {.files = &files});
      CHECK(running->put(make_block(5).id, make_block(5).frame));
      reindex_options options;
      options.files = &files;
      CHECK(reindex(folder.path(), options).rows_added == 1);
      files.cut_power(how);
      check_store(folder.path());
      CHECK(open_test_store(folder.path())->stats().blocks == 1);
    }
  }

  // Reindex syncs when it has looked at all files, and before it changes a row.
  template <class Action>
  void when_it_syncs(faulty_file_system & files, Action action) {
    files.before = [action](faulty_file_system::call what, std::string const& path) {
      if (what == faulty_file_system::call::sync && path.empty()) action();
    };
  }

  TEST_CASE("a block that a dump puts while reindex looks at it keeps its row") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    fs::remove(file_of(folder, 0));
    write_text(file_of(folder, 5), as_text(make_block(5).frame));
    faulty_file_system files(folder.path());
    when_it_syncs(files, [&] { write_text(file_of(folder, 0), as_text(make_block(0).frame)); });
    reindex_options options;
    options.files = &files;
    CHECK(reindex(folder.path(), options).rows_removed == 0);
    CHECK(holds(*open_test_store(folder.path()), make_block(0).id));
  }

  TEST_CASE("a file that goes while reindex looks at it gets no row") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    write_text(file_of(folder, 5), as_text(make_block(5).frame));
    faulty_file_system files(folder.path());
    when_it_syncs(files, [&] { fs::remove(file_of(folder, 5)); });
    reindex_options options;
    options.files = &files;
    (void)reindex(folder.path(), options);
    CHECK_FALSE(holds(*open_test_store(folder.path()), make_block(5).id));
    check_store(folder.path());
  }

  TEST_CASE("quick trusts names and sizes") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    write_text(file_of(folder, 0), "torn");
    write_text(file_of(folder, 5), "");
    write_text(file_of(folder, 6), as_text(make_block(6).frame));
    reindex_options options;
    options.quick = true;
    auto const report = reindex(folder.path(), options);
    CHECK(report.rows_added == 1);
    CHECK(report.rows_corrected == 1);
    CHECK(open_test_store(folder.path())->stats().blocks == 3);
  }
}

}  // namespace diskdump
