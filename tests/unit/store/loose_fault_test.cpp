// The loose store when files are torn, calls fail and the power is cut.
#include <unistd.h>

#include <atomic>
#include <optional>
#include <thread>

#include "faulty_file_system.hpp"
#include "store/sqlite.hpp"
#include "store_support.hpp"

namespace diskdump {

namespace {

using call = faulty_file_system::call;
namespace fs = std::filesystem;

store_open_options with(faulty_file_system& files) {
  store_open_options options;
  options.create_block_bytes = 4096;
  options.files = &files;
  return options;
}

std::int64_t rows_in_index(std::string const& base) {
  auto const path = base + "/.blockstore/blocks.db";
  sqlite_connection const db(path, SQLITE_OPEN_READWRITE, path, std::chrono::seconds(1));
  return db.query_number("SELECT count(*) FROM blocks");
}

// Invariant of every store: each row's file decodes to the row's digest and has its size.
void check_rows_are_true(std::string const& base) {
  auto const store = open_test_store(base);
  block_decompressor decompressor;
  byte_vector raw(4096);
  store->list([&](stored_block const& block) {
    auto const frame = store->get(block.id);
    REQUIRE(frame.has_value());
    CHECK(frame->size() == block.stored_bytes);
    CHECK(sha256(byte_view(raw).first(decompressor.lz4_frame(*frame, raw))) == block.id);
  });
}

std::size_t files_below(std::string const& path) {
  std::size_t count = 0;
  if (!fs::exists(path)) return 0;
  for (auto const& entry : fs::recursive_directory_iterator(path)) {
    count += entry.is_regular_file() ? 1 : 0;
  }
  return count;
}

}  // namespace

TEST_SUITE("loose_store_faults") {
  TEST_CASE("an empty or torn file under a block's name is set aside and the block put") {
    test_folder const folder;
    auto const block = make_block(1);
    auto const path = block_file(folder.path(), block.id);
    std::string const whole(as_text(block.frame));
    for (auto const& torn : {std::string(), whole.substr(0, whole.size() / 2), whole + "x",
                             std::string(5000, '\0'), std::string("text")}) {
      auto const store = open_test_store(folder.path());
      write_text(path, torn);
      CHECK_FALSE(holds(*store, block.id));
      CHECK(store->put(block.id, block.frame));
      CHECK(read_text(path) == whole);
      store->barrier();
      CHECK(holds(*store, block.id));
      store->remove(std::span(&block.id, 1));
    }
    CHECK(files_below(folder / ".blockstore/quarantine") == 5);
    CHECK(read_text(folder / (".blockstore/quarantine/" + block.id.hex() + ".2")) ==
          whole.substr(0, whole.size() / 2));
  }

  TEST_CASE("a directory in a block's place does not stop the block either") {
    test_folder const folder;
    auto const block = make_block(2);
    auto const store = open_test_store(folder.path());
    fs::create_directories(block_file(folder.path(), block.id));
    CHECK(store->put(block.id, block.frame));
    CHECK(store->get(block.id) == block.frame);
  }

  TEST_CASE("a file that another process has repaired meanwhile is not set aside") {
    test_folder const folder;
    auto const block = make_block(1);
    auto const path = block_file(folder.path(), block.id);
    faulty_file_system files(folder.path());
    auto const store = open_store(folder.path(), with(files));
    write_text(path, "torn");
    unsigned reads = 0;
    files.before = [&](call which, std::string const& read) {
      if (which != call::read || !path.ends_with(read)) return;
      // It was found bad, and is looked at again under the lock.
      if (++reads == 2) write_text(path, as_text(block.frame));
    };
    CHECK_FALSE(store->put(block.id, block.frame));
    files.before = nullptr;
    CHECK(reads >= 2);
    CHECK_FALSE(fs::exists(folder / ".blockstore/quarantine"));
    store->barrier();
    check_rows_are_true(folder.path());
  }

  TEST_CASE("a whole file that the index lacks is used and gets its row by the barrier") {
    test_folder const folder;
    auto const block = make_block(3);
    auto const store = open_test_store(folder.path());
    write_text(block_file(folder.path(), block.id), as_text(block.frame));
    CHECK_FALSE(holds(*store, block.id));
    CHECK_FALSE(store->put(block.id, block.frame));
    CHECK(holds(*store, block.id));
    store->barrier();
    CHECK(store->stats().stored_bytes == block.frame.size());
    CHECK_FALSE(fs::exists(folder / ".blockstore/quarantine"));
  }

  TEST_CASE("a found block that vanishes before the barrier comes back from our own copy") {
    test_folder const folder;
    auto const block = make_block(4);
    auto const store = open_test_store(folder.path());
    write_text(block_file(folder.path(), block.id), as_text(block.frame));
    CHECK_FALSE(store->put(block.id, block.frame));
    fs::remove(block_file(folder.path(), block.id));
    store->barrier();
    CHECK(store->get(block.id) == block.frame);
    CHECK(rows_in_index(folder.path()) == 1);
    check_rows_are_true(folder.path());
    CHECK(files_below(folder / ".blockstore/tmp") == 2);  // the copy is gone, lock and room are not
  }

  TEST_CASE("when the sync fails no block of the epoch counts, now or after reopening") {
    test_folder const folder;
    auto const durable = make_block(5);
    auto const lost = make_block(6);
    {
      faulty_file_system files(folder.path());
      auto const store = open_store(folder.path(), with(files));
      CHECK(store->put(durable.id, durable.frame));
      store->barrier();
      CHECK(store->put(lost.id, lost.frame));
      files.before = [](call which, std::string const& path) {
        if (which == call::sync) throw disk_error(ENOSPC, io_direction::write, "syncfs", path);
      };
      auto const failure = thrown_by([&] { store->barrier(); });
      CHECK(failure.code() == store_errc::store_full);
      CHECK_FALSE(failure.remedy().empty());
      CHECK_FALSE(holds(*store, lost.id));
      CHECK(holds(*store, durable.id));
      CHECK(store->get(durable.id) == durable.frame);
      // Another target of this process may have been told that the store has the lost block.
      files.before = nullptr;
      CHECK(thrown_by([&] { store->barrier(); }).code() == store_errc::store_full);
      CHECK(thrown_by([&] { (void)store->put(lost.id, lost.frame); }).code() ==
            store_errc::store_full);
    }
    CHECK_FALSE(fs::exists(block_file(folder.path(), lost.id)));
    auto const store = open_test_store(folder.path());
    CHECK(store->put(lost.id, lost.frame));
    store->barrier();
    CHECK(store->stats().blocks == 2);
  }

  TEST_CASE("who waits for a barrier that loses its blocks is not told that its own are durable") {
    for (auto const kind : both_formats) {
      test_folder const folder;
      faulty_file_system files(folder.path());
      auto const store = open_store(
          folder.path(), {.create_block_bytes = 4096, .create_format = kind, .files = &files});
      CHECK(store->put(make_block(1).id, make_block(1).frame));
      std::atomic<pid_t> waiting_thread{0};
      std::optional<error> told;
      std::thread other;
      std::atomic<bool> met{false};
      files.before = [&](call which, std::string const& path) {
        if (which != call::sync || met.exchange(true)) return;
        // Another target, whose block has come meanwhile, asks for its barrier and sleeps.
        (void)store->put(make_block(2).id, make_block(2).frame);
        other = std::thread([&] {
          waiting_thread = ::gettid();
          try {
            store->barrier();
          } catch (error const& failure) {
            told = failure;
          }
        });
        while (waiting_thread == 0 || !is_asleep(waiting_thread)) std::this_thread::yield();
        throw disk_error(EIO, io_direction::write, "syncfs", path);
      };
      CHECK(thrown_by([&] { store->barrier(); }).code() == store_errc::cannot_write);
      REQUIRE(other.joinable());
      other.join();
      REQUIRE(told.has_value());
      CHECK(told->code() == store_errc::cannot_write);
      CHECK_FALSE(holds(*store, make_block(1).id));
      CHECK_FALSE(holds(*store, make_block(2).id));
    }
  }

  TEST_CASE("rows come after the sync when blocks are added, and go before files are removed") {
    test_folder const folder;
    faulty_file_system files(folder.path());
    auto const store = open_store(folder.path(), with(files));
    auto const block = make_block(7);
    (void)store->put(block.id, block.frame);
    std::int64_t rows_at_sync = -1;
    std::int64_t rows_at_remove = -1;
    files.before = [&](call which, std::string const&) {
      if (which == call::sync) rows_at_sync = rows_in_index(folder.path());
      if (which == call::remove) rows_at_remove = rows_in_index(folder.path());
    };
    store->barrier();
    CHECK(rows_at_sync == 0);
    CHECK(rows_in_index(folder.path()) == 1);
    store->remove(std::span(&block.id, 1));
    CHECK(rows_at_remove == 0);
    files.before = nullptr;
  }

  TEST_CASE("a full epoch runs the barrier by itself") {
    test_folder const folder;
    auto const store = open_test_store(folder.path());
    auto const blocks = limits::epoch_blocks_max + 50;
    std::atomic<std::uint64_t> next{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (std::uint64_t i = 0; (i = next++) < blocks;) {
          auto const block = make_block(i, 64);
          (void)store->put(block.id, block.frame);
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(store->stats().blocks >= limits::epoch_blocks_max);
    store->barrier();
    CHECK(store->stats().blocks == blocks);
  }

  TEST_CASE("a put that fails leaves no temporary file, and an errno becomes cause and remedy") {
    test_folder const folder;
    faulty_file_system files(folder.path());
    auto const store = open_store(folder.path(), with(files));
    auto const block = make_block(8);
    for (auto const at : {call::create, call::mkdir, call::rename}) {
      files.before = [&](call which, std::string const& path) {
        if (which == at) throw disk_error(EDQUOT, io_direction::write, "test", path);
      };
      auto const failure = thrown_by([&] { (void)store->put(block.id, block.frame); });
      CHECK(failure.code() == store_errc::store_full);
      CHECK_FALSE(failure.path().empty());
      CHECK_FALSE(failure.cause().empty());
      CHECK_FALSE(failure.remedy().empty());
      files.before = nullptr;
      CHECK_FALSE(holds(*store, block.id));
      CHECK(files_below(folder / ".blockstore/tmp") == 1);  // the owner's lock
    }
    CHECK(store->put(block.id, block.frame));
  }

  TEST_CASE("the power may go at any call: every row stays true and the next dump succeeds") {
    std::vector<test_block> blocks;
    for (std::uint64_t i = 0; i < 6; ++i) blocks.push_back(make_block(20 + i));
    auto const cuts = at_every_write([&](std::uint64_t at) {
      test_folder const folder;
      (void)open_test_store(folder.path());
      auto const how = faulty_file_system::cut::empties_files;
      bool const was_cut = cut_at_write(folder.path(), at, how, [&](faulty_file_system& files) {
        auto const store = open_store(folder.path(), with(files));
        for (std::size_t i = 0; i < 3; ++i) (void)store->put(blocks[i].id, blocks[i].frame);
        store->barrier();
        store->remove(std::span(&blocks[0].id, 1));
        for (auto const& block : blocks) (void)store->put(block.id, block.frame);
        store->barrier();
      });
      check_rows_are_true(folder.path());
      auto const store = open_test_store(folder.path());
      for (auto const& block : blocks) (void)store->put(block.id, block.frame);
      store->barrier();
      for (auto const& block : blocks) CHECK(store->get(block.id) == block.frame);
      CHECK(store->stats().blocks == blocks.size());
      CHECK(files_below(folder / ".blockstore/tmp") == 2);  // the lock and the room
      CHECK(std::distance(fs::directory_iterator(folder / ".blockstore/tmp"),
                          fs::directory_iterator()) == 2);
      return was_cut;
    });
    CHECK(cuts > 20);
  }

  TEST_CASE("a locked index fails the barrier but loses nothing: the next one writes the rows") {
    test_folder const folder;
    store_open_options options;
    options.index_wait_max = std::chrono::milliseconds(20);
    auto const store = open_test_store(folder.path(), options);
    auto const block = make_block(9);
    (void)store->put(block.id, block.frame);
    auto const path = folder / ".blockstore/blocks.db";
    {
      sqlite_connection const other(path, SQLITE_OPEN_READWRITE, path, std::chrono::seconds(1));
      other.execute("BEGIN IMMEDIATE");
      CHECK(thrown_by([&] { store->barrier(); }).code() == store_errc::index_busy);
      CHECK(holds(*store, block.id));
      CHECK(store->stats().blocks == 0);
      other.execute("ROLLBACK");
    }
    store->barrier();
    CHECK(store->stats().blocks == 1);
  }
}

}  // namespace diskdump
