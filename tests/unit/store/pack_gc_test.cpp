// gc on packs: what differs from block files. What is the same is in gc_test.cpp.
#include <atomic>
#include <cerrno>
#include <set>
#include <thread>

#include "faulty_file_system.hpp"
#include "pack_support.hpp"
#include "store/block_shelf.hpp"
#include "store/gc.hpp"
#include "store/interrupted.hpp"
#include "store/lease.hpp"
#include "store/reindex.hpp"
#include "store/verify.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;
std::uint64_t bytes_of_packs(std::string const& base) {
  std::uint64_t bytes = 0;
  for (auto const& pack : packs_of(base)) bytes += pack.size_bytes;
  return bytes;
}

// What gc warns of.
struct warnings {
  std::vector<std::string> lines;
  callback_log log{log_level::warning,
                   [this](log_level, std::string_view line) { lines.emplace_back(line); }};
  [[nodiscard]] bool tell_of(std::string_view what) const {
    return std::any_of(lines.begin(), lines.end(), [what](std::string const& line) {
      return line.find(what) != std::string::npos &&
             line.find("diskdump verify") != std::string::npos;
    });
  }
};

}  // namespace

TEST_SUITE("pack_gc") {
  TEST_CASE("a pack that nothing needs goes, one with few blocks is copied and then goes") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 100);    // pack 1
    put_blocks(folder.path(), 100, 100);  // pack 2
    put_blocks(folder.path(), 200, 100);  // pack 3
    // Lists would be in packs of their own.
    publish_image(folder.path(), "few", {100, 150}, nullptr);
    publish_image(folder.path(), "most", numbers(200, 90), nullptr);
    auto const before = bytes_of_packs(folder.path());
    auto const report = collect(folder.path());
    CHECK(report.freed.blocks == 208);
    CHECK(report.reclaimed.packs_removed == 2);
    CHECK(report.reclaimed.packs_rewritten == 1);
    CHECK(report.reclaimed.bytes == before - bytes_of_packs(folder.path()));
    auto const left = packs_of(folder.path());
    REQUIRE(left.size() == 2);
    CHECK(left[0].number == 3);  // nine tenths of it are needed: it stays as it is
    CHECK(left[1].number == 4);
    CHECK(open_pack_store(folder.path())->stats().blocks == 92);
    check_store(folder.path());
    CHECK(verify(folder.path()).all_well());
    // Nothing is left to do.
    auto const again = collect(folder.path());
    CHECK(again.freed.blocks == 0);
    CHECK(again.reclaimed.packs_removed == 0);
  }

  TEST_CASE("a pack of more blocks than are moved at once is copied whole") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    constexpr std::uint64_t needed = limits::pack_moves_per_step + 100;
    put_blocks(folder.path(), 0, 2 * needed);
    std::vector<std::uint64_t> every_other(needed);
    for (std::uint64_t i = 0; i < needed; ++i) every_other[i] = 2 * i;
    publish_image(folder.path(), "image", every_other);
    auto const report = collect(folder.path());
    CHECK(report.freed.blocks == needed);
    CHECK(report.reclaimed.packs_rewritten >= 1);
    auto const store = open_pack_store(folder.path());
    for (auto const i : every_other) REQUIRE(store->get(make_block(i).id) == make_block(i).frame);
    CHECK(verify(folder.path()).all_well());
  }

  TEST_CASE("the packs of a writer that lives are left alone, even without a row") {
    test_folder const folder;
    auto const store = open_pack_store(folder.path());
    auto const block = make_block(1);
    CHECK(store->put(block.id, block.frame));
    CHECK(store->get(block.id) == block.frame);  // written, but without a row
    auto report = collect(folder.path());
    CHECK(report.reclaimed.packs_removed == 0);
    store->barrier();
    check_store(folder.path());
    CHECK(holds(*open_pack_store(folder.path()), block.id));
    // It has a row that no manifest names, and its dump holds no lease: the row goes, not the pack.
    report = collect(folder.path());
    CHECK(report.freed.blocks == 1);
    CHECK(packs_of(folder.path()).size() == 1);
  }

  TEST_CASE("a block that a running dump was told is held stays until its lease has ended") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 2);
    {
      dump_lease const lease(folder.path(), "server01:/dev/sda");
      auto const store = open_pack_store(folder.path());
      CHECK(holds(*store, make_block(0).id));
      auto const report = collect(folder.path());
      CHECK(report.condemned.blocks == 2);
      CHECK(report.freed.blocks == 0);
      CHECK(report.pending.blocks == 2);
      CHECK(report.reclaimed.packs_removed == 0);
      CHECK_FALSE(holds(*store, make_block(0).id));
      CHECK(store->get(make_block(0).id) == make_block(0).frame);  // a restore still finds it
      publish_image(folder.path(), "server01-sda", {0});
    }
    auto const report = collect(folder.path());
    CHECK(report.blocks_rescued == 1);
    CHECK(report.freed.blocks == 1);
    CHECK(holds(*open_pack_store(folder.path()), make_block(0).id));
    check_store(folder.path());
  }

  TEST_CASE("what is condemned and put again has its new place, and the old one is free space") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 3);
    auto first = std::make_unique<dump_lease>(folder.path(), "first");
    CHECK(collect(folder.path()).pending.blocks == 3);
    dump_lease const second(folder.path(), "second");
    auto const store = open_pack_store(folder.path());
    auto const block = make_block(1);
    CHECK_FALSE(holds(*store, block.id));
    CHECK(store->put(block.id, block.frame));
    first.reset();
    CHECK(collect(folder.path()).freed.blocks == 3);
    store->barrier();
    CHECK(holds(*store, block.id));
    auto const packs = packs_of(folder.path());
    REQUIRE(packs.size() == 1);
    CHECK(packs[0].number == 2);
    check_store(folder.path());
  }

  TEST_CASE("condemned blocks are carried along when their pack is copied, and can come back") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 100);
    auto lease = std::make_unique<dump_lease>(folder.path(), "relies on 5");
    publish_image(folder.path(), "image", {1});
    CHECK(collect(folder.path()).pending.blocks == 99);
    lease.reset();
    lease = std::make_unique<dump_lease>(folder.path(), "another");
    publish_image(folder.path(), "late", {5});
    // Both go: those that were condemned before this lease are swept, and the pack is copied.
    auto const report = collect(folder.path());
    CHECK(report.freed.blocks == 98);
    CHECK(report.reclaimed.packs_rewritten == 1);
    auto const store = open_pack_store(folder.path());
    CHECK(store->get(make_block(5).id) == make_block(5).frame);
    check_store(folder.path());
  }

  TEST_CASE("what a cut-off reindex has not come to is kept if a manifest names it") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 10);   // pack 1, of which nothing has a row
    put_blocks(folder.path(), 10, 20);  // pack 2, of which one block has a row, and one has none
    put_blocks(folder.path(), 30, 10);  // pack 3, which nothing needs
    auto named = numbers(0, 12);
    publish_image(folder.path(), "image", named, nullptr);
    {
      std::vector<block_id> not_yet;
      for (std::uint64_t i = 0; i < 11; ++i) not_yet.push_back(make_block(i).id);
      std::uint64_t rebuilt = 0;
      store_index({.path = folder / ".blockstore/packs.db",
                   .format = store_format::pack,
                   .wait_max = std::chrono::milliseconds(1000)},
                  {}, rebuilt)
          .remove(not_yet);
    }
    warnings told;
    auto const report = collect(folder.path(), {.log = &told.log});
    CHECK(report.reclaimed.packs_removed == 1);
    CHECK(report.reclaimed.packs_left_alone == 2);
    CHECK(told.lines.size() == 2);
    for (auto const& line : told.lines) {
      CHECK(line.find("run diskdump reindex") != std::string::npos);
    }
    work_monitor monitor;
    (void)rebuild_index(folder.path(), {.threads = 1}, monitor);
    auto const store = open_pack_store(folder.path());
    for (auto const number : named) CHECK(holds(*store, make_block(number).id));
    check_store(folder.path());
    CHECK(collect(folder.path()).reclaimed.packs_left_alone == 0);
  }

  TEST_CASE("what an interrupted dump names without a row keeps no pack") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 10);
    put_blocks(folder.path(), 10, 10);
    publish_image(folder.path(), "image", numbers(0, 10), nullptr);
    clock_source::wall const april{std::chrono::seconds(1776996000)};
    manifest_header header;
    header.source = "host:/dev/cut";
    header.date = iso_time(april);
    header.geometry = {20 * 4096, 4096};
    manifest_writer writer(folder.path(), "cut", header);
    for (auto const number : numbers(10, 10)) writer.add(make_block(number).id);
    writer.comment(identity_key, "serial=1");
    writer.keep_interrupted();
    // Killed before its barrier: what it wrote never got a row.
    std::vector<block_id> without_row;
    for (auto const number : numbers(10, 10)) without_row.push_back(make_block(number).id);
    open_pack_store(folder.path())->remove(without_row);
    warnings told;
    auto const report = collect(folder.path(), {.log = &told.log});
    CHECK(report.reclaimed.packs_removed == 1);
    CHECK(report.reclaimed.packs_left_alone == 0);
    CHECK(told.lines.empty());
    CHECK(packs_of(folder.path()).size() == 1);
    check_store(folder.path());
  }

  TEST_CASE("many small packs become few") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    std::vector<std::uint64_t> all;
    for (std::uint64_t i = 0; i < limits::pack_small_count_max + 4; ++i) {
      put_blocks(folder.path(), i, 1);
      all.push_back(i);
    }
    publish_image(folder.path(), "image", all, nullptr);
    CHECK(packs_of(folder.path()).size() == all.size());
    CHECK(collect(folder.path()).reclaimed.packs_rewritten == all.size());
    CHECK(packs_of(folder.path()).size() == 1);
    check_store(folder.path());
  }

  TEST_CASE("a pack with a damaged block is not copied, and verify still finds the damage") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 100);
    publish_image(folder.path(), "image", {1, 2});
    damage_block(folder.path(), make_block(2).id, 100);
    CHECK(collect(folder.path()).reclaimed.packs_removed == 0);
    auto const report = verify(folder.path());
    CHECK(report.damages_total == 1);
    REQUIRE(find_damage(report, 2) != nullptr);
    CHECK(find_damage(report, 2)->what == kind::damaged);
    CHECK(report.ranges_total == 1);
  }

  TEST_CASE("a bad sector in what gc freed of a pack does not keep it from being copied") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 100);
    publish_image(folder.path(), "image", {1, 90}, nullptr);
    auto const row = row_of(folder.path(), make_block(50).id);
    REQUIRE(row.has_value());
    faulty_file_system files(folder.path());
    files.spoil("000001.pack", row->place.offset + 100);
    CHECK(collect(folder.path(), {.files = &files}).reclaimed.packs_rewritten == 1);
    CHECK(packs_of(folder.path()).size() == 1);
    check_store(folder.path());
  }

  TEST_CASE("a pack with a bad sector in a block or its header stays, and the others are copied") {
    for (bool const in_header : {false, true}) {
      CAPTURE(in_header);
      test_folder const folder;
      (void)open_pack_store(folder.path());
      put_blocks(folder.path(), 0, 100);
      put_blocks(folder.path(), 100, 100);
      publish_image(folder.path(), "image", {1, 2, 101}, nullptr);
      auto const row = row_of(folder.path(), make_block(2).id);
      REQUIRE(row.has_value());
      faulty_file_system files(folder.path());
      files.spoil("000001.pack", in_header ? 0 : row->place.offset + 100);
      for (int run = 0; run < 2; ++run) {
        warnings told;
        auto const report = collect(folder.path(), {.log = &told.log, .files = &files});
        CHECK(report.reclaimed.packs_rewritten == (run == 0 ? 1 : 0));
        CHECK(told.tell_of("000001.pack"));
        CHECK(told.lines.size() == 1);
        CHECK(packs_of(folder.path()).size() == 2);
      }
      check_store(folder.path());
    }
  }

  TEST_CASE("a needed block that cannot be read does not stop a gc, which tells of it") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 3);
    {
      dump_lease const lease(folder.path(), "relies on 0 and 1");
      CHECK(collect(folder.path()).pending.blocks == 3);
      publish_image(folder.path(), "late", {0, 1}, nullptr);
    }
    auto const row = row_of(folder.path(), make_block(0).id);
    REQUIRE(row.has_value());
    faulty_file_system files(folder.path());
    files.spoil("000001.pack", row->place.offset + 1);
    warnings told;
    auto const report = collect(folder.path(), {.log = &told.log, .files = &files});
    CHECK(report.freed.blocks == 1);
    CHECK(report.pending.blocks == 0);
    CHECK(told.tell_of("000001.pack"));
    // The error may pass; verify judges the block.
    auto const store = open_pack_store(folder.path());
    CHECK(holds(*store, make_block(0).id));
    CHECK(holds(*store, make_block(1).id));
  }

  TEST_CASE("a block that moves between the look into the index and the read is found") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 100);
    publish_image(folder.path(), "image", {1});
    faulty_file_system files(folder.path());
    std::uint64_t rewritten = 0;
    files.before = [&](faulty_file_system::call what, std::string const& path) {
      if (what != faulty_file_system::call::read || !path.ends_with("000001.pack")) return;
      rewritten += collect(folder.path()).reclaimed.packs_rewritten;
    };
    auto const store = open_store(folder.path(), {.read_only = true, .files = &files});
    CHECK(store->get(make_block(1).id) == make_block(1).frame);
    CHECK(rewritten == 1);
  }

  TEST_CASE("blocks are read while their packs are copied and removed") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    std::vector<std::uint64_t> kept;
    for (std::uint64_t i = 0; i < 600; i += 10) kept.push_back(i);
    publish_image(folder.path(), "image", kept);
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<std::uint64_t> reads{0};
    put_blocks(folder.path(), 0, 600);
    std::jthread reader([&] {
      auto const store = open_store(folder.path(), {.read_only = true});
      while (!done) {
        for (auto const number : kept) {
          try {
            wrong += store->get(make_block(number).id) == make_block(number).frame ? 0 : 1;
          } catch (error const&) {
            ++wrong;
          }
          ++reads;
        }
      }
    });
    std::uint64_t rewritten = 0;
    for (std::uint64_t round = 0; round < 10; ++round) {
      // So many small packs that all of them are put together, with what is being read.
      std::vector<std::uint64_t> more;
      for (std::uint64_t i = 0; i < limits::pack_small_count_max; ++i) {
        more.push_back(10'000 + round * 100 + i);
        put_blocks(folder.path(), more.back(), 1);
      }
      publish_image(folder.path(), "more", more);
      rewritten += collect(folder.path()).reclaimed.packs_rewritten;
    }
    done = true;
    reader.join();
    CHECK(rewritten > 100);
    CHECK(reads > 0);
    CHECK(wrong == 0);
    check_store(folder.path());
  }
}

}  // namespace diskdump
