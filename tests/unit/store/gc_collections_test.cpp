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
    lease.reset();
    CHECK(collect(folder.path()).freed.blocks == 2);
    CHECK(blocks_of(folder.path()) == 0);
  }

  TEST_CASE("a condemned block to which somebody gave a row who knows no marks stays") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    auto const id = make_block(0).id;
    std::uint64_t rebuilt = 0;
    store_index index(
        {.path = folder / ".blockstore/blocks.db", .wait_max = std::chrono::milliseconds(100)}, {},
        rebuilt);
    auto const number = index.begin_collection();
    CHECK(index.condemn_rows(number, std::vector<stored_block>{{id, 0, {}}}).blocks == 1);
    // As 0.1.x does, which does not look at the other tables.
    change_index(folder.path(), "INSERT INTO blocks (hash, compressed_size) VALUES ('" + id.hex() +
                                    "', " + std::to_string(make_block(0).frame.size()) + ")");
    auto const swept = index.sweep(number, {.needed = [](block_id const&) { return false; },
                                            .exists = [](stored_block const&) { return true; },
                                            .erase = [](auto blocks) { CHECK(blocks.empty()); },
                                            .stopped = [] { return false; }});
    CHECK(swept.freed.blocks == 0);
    CHECK(index.contains(id));
    CHECK(index.collections().empty());
  }
}

}  // namespace diskdump
