// Several collections at once, and what the index does where they are not as gc left them.
#include <memory>

#include "store/gc.hpp"
#include "store/index.hpp"
#include "store/lease.hpp"
#include "store/sqlite.hpp"
#include "store_support.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

std::unique_ptr<store_index> index_of(std::string const& base) {
  std::uint64_t rebuilt = 0;
  return std::make_unique<store_index>(index_options{.path = base + "/.blockstore/blocks.db",
                                                     .wait_max = std::chrono::milliseconds(100)},
                                       index_filler{}, rebuilt);
}

void change_index(std::string const& base, std::string const& sql) {
  auto const path = base + "/.blockstore/blocks.db";
  sqlite_connection const db(path, SQLITE_OPEN_READWRITE, path, std::chrono::seconds(1));
  db.execute(sql.c_str());
}

}  // namespace

TEST_SUITE("gc") {
  TEST_CASE("what several collections condemned goes when the last lease has ended") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    auto lease = std::make_unique<dump_lease>(folder.path(), "running");
    CHECK(collect(folder.path()).condemned.blocks == 2);
    put_blocks(folder.path(), 2, 3);
    auto const second = collect(folder.path());
    CHECK(second.condemned.blocks == 3);
    CHECK(second.pending.blocks == 5);
    lease.reset();
    CHECK(collect(folder.path()).freed.blocks == 5);
    CHECK(blocks_of(folder.path()) == 0);
  }

  TEST_CASE("a collection of which nothing is known waits for all leases, and then goes") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    auto lease = std::make_unique<dump_lease>(folder.path(), "running");
    CHECK(collect(folder.path()).pending.blocks == 2);
    change_index(folder.path(), "UPDATE condemned SET collection = 7");
    auto const report = collect(folder.path());
    CHECK(report.freed.blocks == 0);
    CHECK(report.pending.blocks == 2);
    // Who begins later was not told of them.
    dump_lease const later(folder.path(), "began after that gc");
    lease.reset();
    CHECK(collect(folder.path()).freed.blocks == 2);
    CHECK(blocks_of(folder.path()) == 0);
  }

  TEST_CASE("a condemned block to which somebody gave a row who knows no marks stays") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    auto const id = make_block(0).id;
    auto const index = index_of(folder.path());
    auto const number = index->begin_collection();
    CHECK(index->condemn_rows(number, std::vector<store_index::row_run>{{id, id, {}}}).blocks == 1);
    // As 0.1.x does, which does not look at the other tables.
    change_index(folder.path(), "INSERT INTO blocks (hash, compressed_size) VALUES ('" + id.hex() +
                                    "', " + std::to_string(make_block(0).frame.size()) + ")");
    auto const swept = index->sweep(number, {.needed = [](block_id const&) { return false; },
                                             .exists = [](stored_block const&) { return true; },
                                             .erase =
                                                 [](auto blocks, auto const& meanwhile) {
                                                   CHECK(blocks.empty());
                                                   meanwhile();
                                                 },
                                             .stopped = [] { return false; }});
    CHECK(swept.freed.blocks == 0);
    CHECK(index->contains(id));
    CHECK(index->collections().empty());
  }

  TEST_CASE("a row that came to a run meanwhile is condemned with it, and counted") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 9);
    std::vector<stored_block> rows;
    auto const index = index_of(folder.path());
    index->list([&](stored_block const& row) { rows.push_back(row); });
    REQUIRE(rows.size() == 9);
    auto const bytes = [&](std::size_t from, std::size_t to) {
      std::uint64_t sum = 0;
      for (auto i = from; i <= to; ++i) sum += rows[i].stored_bytes;
      return sum;
    };
    // As it was listed before the row in its middle came; the other one is as it was.
    std::vector<store_index::row_run> const runs{
        {rows[1].id, rows[3].id, {2, rows[1].stored_bytes + rows[3].stored_bytes}},
        {rows[5].id, rows[6].id, {2, bytes(5, 6)}}};
    auto const done = index->condemn_rows(index->begin_collection(), runs);
    CHECK(done.blocks == 5);
    CHECK(done.stored_bytes == bytes(1, 3) + bytes(5, 6));
    auto const all = index->collections();
    REQUIRE(all.size() == 1);
    CHECK(all.front().condemned.blocks == 5);
    CHECK(all.front().condemned.stored_bytes == done.stored_bytes);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      bool const is_in_a_run = (i >= 1 && i <= 3) || i == 5 || i == 6;
      CHECK(index->contains(rows[i].id) == !is_in_a_run);
    }
  }

  TEST_CASE("of more rows than a step takes, the ones that manifests name stay") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    constexpr std::uint64_t count = 3 * limits::index_rows_per_step;
    std::vector<stored_block> rows;
    std::vector<block_id> named;
    store_stats unnamed;
    for (std::uint64_t i = 1; i <= count; ++i) {
      stored_block row{.id = {}, .stored_bytes = 100 + i % 7, .place = {}};
      // One behind the other in 61,440 folders, which need not be there.
      row.id.bytes[0] = static_cast<std::byte>(i * 5 >> 8);
      row.id.bytes[1] = static_cast<std::byte>(i * 5);
      rows.push_back(row);
      // None in the first half, which is longer than a step; every third in the other.
      if (i >= count / 2 && i % 3 == 0) {
        named.push_back(row.id);
      } else {
        unnamed += {1, row.stored_bytes};
      }
    }
    index_of(folder.path())->insert(rows, [] {});
    clock_source::wall const day{std::chrono::seconds(1776996000)};
    manifest_header header{.source = "host:/disk", .date = iso_time(day), .geometry = {}};
    header.geometry = {named.size() * 4096, 4096};
    manifest_writer writer(folder.path(), "image", header);
    for (auto const& id : named) writer.add(id);
    (void)writer.publish(day);

    auto const would = collect(folder.path(), {.dry_run = true, .threads = 3}).condemned;
    CHECK(would.blocks == unnamed.blocks);
    CHECK(would.stored_bytes == unnamed.stored_bytes);
    auto const report = collect(folder.path(), {.threads = 3});
    for (auto const& done : {report.condemned, report.freed}) {
      CHECK(done.blocks == unnamed.blocks);
      CHECK(done.stored_bytes == unnamed.stored_bytes);
    }
    std::vector<block_id> left;
    index_of(folder.path())->list([&](stored_block const& row) { left.push_back(row.id); });
    CHECK((left == named));
  }
}

}  // namespace diskdump
