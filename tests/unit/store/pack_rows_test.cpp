#include "store/pack_rows.hpp"

#include <atomic>
#include <limits>

#include "faulty_file_system.hpp"
#include "pack_support.hpp"
#include "sqlite_trace.hpp"
#include "store/block_shelf.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

constexpr auto number_max = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t packs_in_all = 4;
constexpr std::uint64_t blocks_per_pack = 20;
constexpr std::uint64_t rows_in_all = packs_in_all * blocks_per_pack;

// A store of four packs, the first two blocks of which are condemned.
struct rows_fixture {
  rows_fixture() {
    for (std::uint64_t i = 0; i < packs_in_all; ++i) {
      put_blocks(folder.path(), i * blocks_per_pack, blocks_per_pack);
    }
    std::vector<store_index::row_run> const two{{make_block(0).id, make_block(0).id, {}},
                                                {make_block(1).id, make_block(1).id, {}}};
    auto const index = open();
    (void)index->condemn_rows(index->begin_collection(), two);
  }

  [[nodiscard]] std::unique_ptr<store_index> open(bool read_only = false) const {
    std::uint64_t rebuilt = 0;
    return std::make_unique<store_index>(index_options{.path = folder / ".blockstore/packs.db",
                                                       .format = store_format::pack,
                                                       .read_only = read_only,
                                                       .wait_max = std::chrono::milliseconds(1000)},
                                         index_filler{}, rebuilt);
  }

  [[nodiscard]] pack_rows rows(store_index& index, std::vector<std::uint32_t> lasts,
                               bool read_only = false) {
    return {{files, store_layout(""), blockstore, durability::barrier, read_only, index},
            std::move(lasts),
            2,
            [](pack_rows::row const&) { return true; },
            stop};
  }

  test_folder const folder;
  std::unique_ptr<block_store> const opened = open_pack_store(folder.path());
  std::string const blockstore = folder / ".blockstore";
  faulty_file_system files{blockstore};
  std::atomic<bool> stop{false};
};

// Every block once, in the order of places, with the marks of gc.
void check_all(std::vector<pack_rows::row> const& rows) {
  REQUIRE(rows.size() == rows_in_all);
  std::set<block_id> condemned;
  for (std::uint64_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i].block.id == make_block(i).id);
    CHECK(rows[i].block.place.pack == i / blocks_per_pack + 1);
    CHECK(rows[i].block.stored_bytes == make_block(i).frame.size());
    CHECK(rows[i].condemned == (i < 2));
  }
}

}  // namespace

TEST_SUITE("pack_rows") {
  TEST_CASE("all rows come in the order of their places, whatever the ranges are") {
    rows_fixture store;
    auto const index = store.open();
    for (auto const& lasts : std::vector<std::vector<std::uint32_t>>{
             {number_max}, {2, number_max}, {1, 2, 3, number_max}, {0, 1, 3, 9, 10, number_max}}) {
      for (auto const& steps : std::vector<std::vector<std::uint32_t>>{
               {number_max}, {1, 2, 3, 4}, {0, 3, 3, number_max}, lasts}) {
        auto rows = store.rows(*index, lasts);
        std::vector<pack_rows::row> all;
        for (auto const last : steps) {
          for (auto const& row : rows.up_to(last)) {
            CHECK(row.block.place.pack <= last);
            all.push_back(row);
          }
        }
        check_all(all);
        CHECK(rows.up_to(number_max).empty());
      }
    }
  }

  TEST_CASE("only rows that are wanted are taken") {
    rows_fixture store;
    auto const index = store.open();
    pack_rows rows(
        {store.files, store_layout(""), store.blockstore, durability::barrier, false, *index},
        {2, number_max}, 2, [](pack_rows::row const& row) { return row.block.place.pack == 3; },
        store.stop);
    CHECK(rows.up_to(2).empty());
    CHECK(rows.up_to(number_max).size() == blocks_per_pack);
  }

  TEST_CASE("each row is looked at once, however many ranges there are") {
    rows_fixture store;
    sqlite_trace trace;
    auto const index = store.open();
    std::uint64_t looked_at = 0;
    trace.row = [&](std::string_view sql) { looked_at += is_of_table(sql) ? 1 : 0; };
    auto rows = store.rows(*index, {1, 2, 3, number_max});
    for (std::uint32_t const last : {1, 2, 3, 4}) {
      CHECK(rows.up_to(last).size() == blocks_per_pack);
    }
    CHECK(looked_at == rows_in_all);
  }

  TEST_CASE("a file that cannot be written or read costs time, not rows") {
    using call = faulty_file_system::call;
    for (auto const failing : {call::create, call::append, call::read, call::mkdir}) {
      CAPTURE(static_cast<int>(failing));
      rows_fixture store;
      auto const index = store.open();
      bool failed = false;
      store.files.before = [&](call what, std::string const& path) {
        if (what != failing || path.find("tmp/") == std::string::npos) return;
        failed = true;
        throw disk_error(ENOSPC, io_direction::write, "test", path);
      };
      auto rows = store.rows(*index, {1, 2, 3, number_max});
      std::vector<pack_rows::row> all;
      for (std::uint32_t const last : {1, 2, 3, 4}) {
        auto const some = rows.up_to(last);
        CHECK(some.size() == blocks_per_pack);
        all.insert(all.end(), some.begin(), some.end());
      }
      check_all(all);
      CHECK(failed);
    }
  }

  TEST_CASE("nothing of it is left in the store, and nothing written where that is only read") {
    for (bool const read_only : {false, true}) {
      CAPTURE(read_only);
      rows_fixture store;
      auto const index = store.open(read_only);
      auto const before = tree_of(store.folder.path());
      std::uint64_t calls = 0;
      store.files.before = [&](auto, std::string const&) { ++calls; };
      auto rows = store.rows(*index, {1, 2, 3, number_max}, read_only);
      CHECK(rows.up_to(1).size() == blocks_per_pack);
      CHECK(tree_of(store.folder.path()) == before);
      CHECK((calls == 0) == read_only);
    }
  }

  TEST_CASE("told to stop, it ends the pass") {
    rows_fixture store;
    sqlite_trace trace;
    auto const index = store.open();
    store.stop = true;
    auto rows = store.rows(*index, {1, number_max});
    CHECK(rows.up_to(number_max).empty());
  }

  TEST_CASE("windows of a store take one pass over the rows") {
    rows_fixture store;
    auto const shelf =
        make_pack_shelf(store.files, store_layout(""), store.blockstore, durability::barrier);
    sqlite_trace trace;
    auto const index = store.open();
    shelf->use(*index);
    std::uint64_t looked_at = 0;
    trace.row = [&](std::string_view sql) { looked_at += is_of_table(sql) ? 1 : 0; };
    upkeep_request request;
    request.without_row = false;
    request.rows =
        limits::upkeep_files_per_window * (packs_in_all - 1);  // as if there were so many
    work_monitor monitor;
    std::size_t windows = 0;
    std::vector<block_id> found;
    shelf->for_each_window(request, 1, monitor, [&](std::vector<upkeep_block>& window) {
      ++windows;
      for (auto const& block : window) found.push_back(block.id);
    });
    CHECK(windows == packs_in_all);
    REQUIRE(found.size() == rows_in_all);
    for (std::uint64_t i = 0; i < rows_in_all; ++i) CHECK(found[i] == make_block(i).id);
    CHECK(looked_at == rows_in_all);
  }
}

}  // namespace diskdump
