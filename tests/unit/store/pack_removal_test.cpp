// How gc removes packs that nothing needs: beside dumps that write to the index, and a reindex that
// gives rows to what it finds in packs. What it removes is in pack_gc_test.cpp.
#include <atomic>

#include "faulty_file_system.hpp"
#include "pack_support.hpp"
#include "sqlite_trace.hpp"
#include "store/gc.hpp"
#include "store/pack_format.hpp"
#include "store/reindex.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

constexpr std::size_t some_packs = 2 * limits::pack_removals_per_step + 1;

// Packs of a dead writer, without a block.
void add_empty_packs(std::string const& base, std::uint32_t first, std::size_t count) {
  auto const header = encode_pack_header({"1-2-3"});
  auto const files = make_posix_file_system(base + "/.blockstore");
  for (std::size_t i = 0; i < count; ++i) {
    auto const path = pack_path(store_layout(""), first + static_cast<std::uint32_t>(i));
    CHECK(files->create_exclusive(path, header));
  }
}

bool is_removing(work_monitor const& monitor) {
  return std::string_view(monitor.phase.load()) == "removing packs";
}

// Gives an id a row that it has already, as a reindex does that corrects its size.
void adopt_again(std::string const& base, block_id const& id) {
  std::uint64_t rebuilt = 0;
  store_index index({.path = base + "/.blockstore/packs.db",
                     .format = store_format::pack,
                     .wait_max = std::chrono::milliseconds(1000)},
                    {}, rebuilt);
  auto const row = index.rows_of(std::span(&id, 1), false).front();
  REQUIRE(row.has_value());
  index.adopt(std::span(&*row, 1), [](stored_block const&) { return true; });
}

}  // namespace

TEST_SUITE("pack_removal") {
  TEST_CASE("packs go in steps, between which others write, and no row is looked at in one") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 50);
    publish_image(folder.path(), "image", numbers(0, 50), nullptr);
    add_empty_packs(folder.path(), 2, some_packs);
    auto const index = folder / ".blockstore/packs.db";

    sqlite_trace trace;
    std::size_t steps = 0;
    std::size_t packs_before = 0;
    std::size_t rows = 0;
    trace.begun = [&](std::string_view sql) {
      if (sql != "BEGIN IMMEDIATE") return;
      packs_before = packs_of(folder.path()).size();
      rows = 0;
    };
    trace.row = [&](std::string_view sql) { rows += is_of_table(sql) ? 1 : 0; };
    trace.ended = [&](std::string_view sql) {
      if (sql != "ROLLBACK" && sql != "COMMIT") return;
      auto const gone = packs_before - packs_of(folder.path()).size();
      packs_before -= gone;
      if (gone == 0) return;
      ++steps;
      CHECK(gone <= limits::pack_removals_per_step);
      CHECK(rows == 0);
      sqlite_connection const dump(index, SQLITE_OPEN_READWRITE, index, {});
      CHECK_NOTHROW(sqlite_transaction(dump, "BEGIN IMMEDIATE"));
    };
    CHECK(collect(folder.path()).reclaimed.packs_removed == some_packs);
    CHECK(steps == 3);
    CHECK(packs_of(folder.path()).size() == 1);
    check_store(folder.path());
  }

  TEST_CASE("told to stop, it ends after the step") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 1);
    publish_image(folder.path(), "image", {0}, nullptr);
    add_empty_packs(folder.path(), 2, some_packs);
    faulty_file_system files(folder.path());
    work_monitor monitor;
    files.before = [&](faulty_file_system::call what, std::string const& path) {
      if (what == faulty_file_system::call::remove && path.ends_with(".pack")) monitor.stop = true;
    };
    auto const report = collect_garbage(folder.path(), {.files = &files}, monitor);
    CHECK(report.stopped);
    CHECK(report.reclaimed.packs_removed == limits::pack_removals_per_step);
    CHECK(packs_of(folder.path()).size() == 1 + some_packs - limits::pack_removals_per_step);
  }

  TEST_CASE("a pack stays that a reindex gives rows before it is removed") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 10);   // pack 1
    put_blocks(folder.path(), 10, 10);  // pack 2
    publish_image(folder.path(), "image", numbers(10, 10), nullptr);
    add_empty_packs(folder.path(), 3, 1);
    work_monitor monitor;
    sqlite_trace trace;
    std::uint64_t added = 0;
    trace.begun = [&](std::string_view sql) {
      if (sql != "BEGIN IMMEDIATE" || !is_removing(monitor) || added > 0) return;
      work_monitor other;
      added = rebuild_index(folder.path(), {.threads = 1}, other).rows_added;
    };
    auto const report = collect_garbage(folder.path(), {}, monitor);
    CHECK(added == 10);
    CHECK(report.freed.blocks == 10);
    CHECK(report.reclaimed.packs_removed == 1);  // the one that is empty
    CHECK(packs_of(folder.path()).size() == 2);
    CHECK(open_pack_store(folder.path())->stats().blocks == 20);
    check_store(folder.path());
    CHECK(collect(folder.path()).reclaimed.packs_removed == 1);
    check_store(folder.path());
  }

  TEST_CASE("where a reindex goes on giving rows, what is left is left to the next gc") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 1);
    publish_image(folder.path(), "image", {0}, nullptr);
    add_empty_packs(folder.path(), 2, 3);
    work_monitor monitor;
    sqlite_trace trace;
    unsigned times = 0;
    trace.begun = [&](std::string_view sql) {
      if (sql != "BEGIN IMMEDIATE" || !is_removing(monitor)) return;
      ++times;
      adopt_again(folder.path(), make_block(0).id);
    };
    CHECK(collect_garbage(folder.path(), {}, monitor).reclaimed.packs_removed == 0);
    CHECK(times == limits::pack_removal_scans_max);
    CHECK(packs_of(folder.path()).size() == 4);
    trace.begun = {};
    CHECK(collect(folder.path()).reclaimed.packs_removed == 3);
  }

  TEST_CASE("only rows that are given to what lay without one count as adopted") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 2);
    std::uint64_t rebuilt = 0;
    store_index index({.path = folder / ".blockstore/packs.db",
                       .format = store_format::pack,
                       .wait_max = std::chrono::milliseconds(1000)},
                      {}, rebuilt);
    auto const since = index.adoptions();
    put_blocks(folder.path(), 2, 1);
    std::vector<block_id> const ids{make_block(0).id};
    auto const row = *index.rows_of(ids, false).front();
    index.adopt(std::span(&row, 1), [](stored_block const&) { return false; });
    unsigned runs = 0;
    CHECK(index.unless_adopted(since, [&] { ++runs; }));
    index.adopt(std::span(&row, 1), [](stored_block const&) { return true; });
    CHECK_FALSE(index.unless_adopted(since, [&] { ++runs; }));
    CHECK(runs == 1);
    CHECK(index.unless_adopted(index.adoptions(), [] {}));
  }

  TEST_CASE("a gc that is cut off while it removes packs leaves true rows, and the next goes on") {
    for (std::size_t const at : {std::size_t{1}, limits::pack_removals_per_step,
                                 limits::pack_removals_per_step + 1, some_packs}) {
      CAPTURE(at);
      test_folder const folder;
      (void)open_pack_store(folder.path());
      put_blocks(folder.path(), 0, 10);
      put_blocks(folder.path(), 10, 10);
      publish_image(folder.path(), "image", numbers(10, 10), nullptr);
      add_empty_packs(folder.path(), 3, some_packs - 1);
      faulty_file_system files(folder.path());
      std::size_t removals = 0;
      files.before = [&](faulty_file_system::call what, std::string const& path) {
        if (what != faulty_file_system::call::remove || !path.ends_with(".pack")) return;
        if (++removals == at) throw disk_error(EIO, io_direction::write, "test", path);
      };
      CHECK_THROWS_AS(collect(folder.path(), {.files = &files}), error);
      CHECK(removals == at);
      check_store(folder.path());
      files.before = {};
      CHECK(collect(folder.path()).reclaimed.packs_removed == some_packs - at + 1);
      CHECK(packs_of(folder.path()).size() == 1);
      check_store(folder.path());
    }
  }
}

}  // namespace diskdump
