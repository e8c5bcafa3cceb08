// Opening stores: new ones, broken ones, read-only ones, several processes at once.
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "base/format.hpp"
#include "faulty_file_system.hpp"
#include "small_mount.hpp"
#include "store/lease.hpp"
#include "store/scratch.hpp"
#include "store/sqlite.hpp"
#include "store/verify.hpp"
#include "store_support.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

// Runs `action` in a process of its own that ends without any cleanup, as if it were killed.
// Returns its exit status: 0 unless `action` threw.
template <class Action>
int in_child(Action&& action) {
  auto const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    try {
      action();
    } catch (...) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

store_open_options reading() {
  store_open_options options;
  options.read_only = true;
  return options;
}

}  // namespace

TEST_SUITE("open_store") {
  TEST_CASE("what is no store is refused with a remedy, and nothing is made") {
    test_folder const folder;
    for (auto const& path : {folder.path(), folder / "absent"}) {
      auto const failure = thrown_by([&] { (void)open_store(path, {}); });
      CHECK(failure.code() == store_errc::not_a_store);
      CHECK_FALSE(failure.remedy().empty());
    }
    CHECK(fs::is_empty(folder.path()));
    auto options = reading();
    options.create_block_bytes = 4096;
    CHECK(thrown_by([&] { (void)open_store(folder.path(), options); }).code() ==
          store_errc::not_a_store);
    CHECK(fs::is_empty(folder.path()));
  }

  TEST_CASE("a config.json that is not ours is refused and nothing is changed") {
    struct sample {
      char const* text;
      store_errc code;
    };
    for (auto const& [text, code] : {
             sample{"", store_errc::not_a_store},
             sample{"{", store_errc::not_a_store},
             sample{"[1]", store_errc::not_a_store},
             sample{"{\"hash_algo\": \"sha256\", \"version\": 1}", store_errc::not_a_store},
             sample{"{\"block_size\": \"x\", \"hash_algo\": \"sha256\", \"version\": 1}",
                    store_errc::not_a_store},
             sample{"{\"block_size\": 4096, \"hash_algo\": 5, \"version\": 1}",
                    store_errc::not_a_store},
             sample{"{\"block_size\": 4096, \"hash_algo\": \"sha256\"}", store_errc::not_a_store},
             sample{"{\"block_size\": 4096, \"hash_algo\": \"sha256\", \"version\": 2}",
                    store_errc::unsupported_store},
             sample{"{\"block_size\": 4096, \"hash_algo\": \"sha256\", \"version\": 3}",
                    store_errc::unsupported_store},
             sample{"{\"block_size\": 4096, \"hash_algo\": \"blake3\", \"version\": 1}",
                    store_errc::unsupported_store},
             sample{"{\"block_size\": 0, \"hash_algo\": \"sha256\", \"version\": 1}",
                    store_errc::unsupported_store},
             sample{"{\"block_size\": 99999999999, \"hash_algo\": \"sha256\", \"version\": 1}",
                    store_errc::unsupported_store},
             sample{"{\"block_size\": -4096, \"hash_algo\": \"sha256\", \"version\": 1}",
                    store_errc::unsupported_store},
         }) {
      CAPTURE(text);
      test_folder const folder;
      write_text(folder / ".blockstore/config.json", text);
      auto const failure = thrown_by([&] { (void)open_test_store(folder.path()); });
      CHECK(failure.code() == code);
      CHECK(failure.path() == folder / ".blockstore/config.json");
      CHECK(read_text(folder / ".blockstore/config.json") == text);
      CHECK_FALSE(fs::exists(folder / ".blockstore/blocks.db"));
    }
  }

  TEST_CASE("a blocks.db that is no database is refused unchanged, and blocks can still be read") {
    test_folder const folder;
    auto const block = make_block(1);
    {
      auto const store = open_test_store(folder.path());
      (void)store->put(block.id, block.frame);
      store->barrier();
    }
    auto const path = folder / ".blockstore/blocks.db";
    std::string const garbage(20000, 'g');
    write_text(path, garbage);
    auto const failure = thrown_by([&] { (void)open_store(folder.path(), {}); });
    CHECK(failure.code() == store_errc::damaged_index);
    CHECK(failure.path() == path);
    CHECK(failure.remedy().find("diskdump reindex") != std::string::npos);
    CHECK(read_text(path) == garbage);

    auto const store = open_store(folder.path(), reading());
    CHECK(store->get(block.id) == block.frame);
    CHECK(thrown_by([&] { (void)store->stats(); }).code() == store_errc::damaged_index);

    // The remedy works.
    fs::remove(path);
    CHECK(holds(*open_store(folder.path(), {}), block.id));
  }

  TEST_CASE("a database of another program is refused") {
    test_folder const folder;
    write_text(folder / ".blockstore/config.json",
               "{\"block_size\": 4096, \"hash_algo\": \"sha256\", \"version\": 1}");
    auto const path = folder / ".blockstore/blocks.db";
    {
      sqlite_connection const other(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, path,
                                    std::chrono::seconds(1));
      other.execute("CREATE TABLE songs (title TEXT)");
    }
    CHECK(thrown_by([&] { (void)open_store(folder.path(), {}); }).code() ==
          store_errc::damaged_index);
  }

  TEST_CASE("a locked blocks.db is named as such, and blocks can still be read") {
    test_folder const folder;
    auto const block = make_block(2);
    {
      auto const store = open_test_store(folder.path());
      (void)store->put(block.id, block.frame);
      store->barrier();
    }
    auto const path = folder / ".blockstore/blocks.db";
    sqlite_connection const other(path, SQLITE_OPEN_READWRITE, path, std::chrono::seconds(1));
    other.execute("PRAGMA locking_mode = EXCLUSIVE");
    other.execute("BEGIN EXCLUSIVE");
    store_open_options options;
    options.index_wait_max = std::chrono::milliseconds(20);
    auto const failure = thrown_by([&] { (void)open_store(folder.path(), options); });
    CHECK(failure.code() == store_errc::index_busy);
    CHECK_FALSE(failure.remedy().empty());
    options.read_only = true;
    CHECK(open_store(folder.path(), options)->get(block.id) == block.frame);
  }

  TEST_CASE("an index that is locked for a moment is waited for") {
    test_folder const folder;
    faulty_file_system files(folder.path());
    auto const store = open_store(folder.path(), {.create_block_bytes = 4096, .files = &files});
    (void)store->put(make_block(2).id, make_block(2).frame);
    auto const path = folder / ".blockstore/blocks.db";
    sqlite_connection const other(path, SQLITE_OPEN_READWRITE, path, std::chrono::seconds(1));
    other.execute("BEGIN IMMEDIATE");
    std::atomic<bool> synced{false};
    files.before = [&](faulty_file_system::call what, std::string const&) {
      if (what == faulty_file_system::call::sync) synced = true;
    };
    std::atomic<pid_t> thread{0};
    std::atomic<bool> ended{false};
    std::optional<error> failure;
    std::jthread barrier([&] {
      thread = ::gettid();
      try {
        store->barrier();
      } catch (error const& e) {
        failure = e;
      }
      ended = true;
      ended.wait(true);  // so that there is a thread to be asked for
    });
    // After the sync only the index is left to wait for.
    while (!synced || !is_asleep(thread)) std::this_thread::yield();
    CHECK_FALSE(ended);
    other.execute("ROLLBACK");
    while (!ended) std::this_thread::yield();
    ended = false;
    ended.notify_all();
    barrier.join();
    CHECK_FALSE(failure);
    CHECK(store->stats().blocks == 1);
  }

  TEST_CASE("rows of an index that is built again come after the sync of their files") {
    for (auto const [format, how] : every_power_cut()) {
      test_folder const folder;
      auto const block = make_block(2);
      {
        faulty_file_system files(folder.path());
        {
          auto const store =
              open_store(folder.path(),
                         {.create_block_bytes = 4096, .create_format = format, .files = &files});
          (void)store->put(block.id, block.frame);
          CHECK(store->get(block.id));  // which writes a pack out; nothing is synced
        }
        for (auto const* const name : {"blocks.db", "packs.db"}) {
          for (auto const* const suffix : {"", "-wal", "-shm"}) {
            fs::remove(folder / (std::string(".blockstore/") + name + suffix));
          }
        }
        CHECK(open_store(folder.path(), {.files = &files})->stats().blocks == 1);
        files.cut_power(how);
      }
      auto const store = open_test_store(folder.path());
      CHECK(store->get(block.id) == block.frame);
    }
  }

  TEST_CASE("an absent blocks.db is built from the block files, and the log says so") {
    test_folder const folder;
    std::vector<test_block> blocks;
    {
      auto const store = open_test_store(folder.path());
      for (std::uint64_t i = 0; i < 20; ++i) {
        blocks.push_back(make_block(10 + i));
        (void)store->put(blocks.back().id, blocks.back().frame);
      }
      store->barrier();
    }
    fs::remove(folder / ".blockstore/blocks.db");
    // None of these is a block.
    write_text(block_file(folder.path(), make_block(99).id), "");
    write_text(folder / ".blockstore/ab/cd/readme.lz4", "x");
    write_text(folder / (".blockstore/00/00/" + blocks[0].id.hex() + ".lz4"), "x");
    write_text(folder / ".blockstore/zz/00/x", "x");
    write_text(folder / ".blockstore/blocks.db-wal", "left by the old database");
    std::string said;
    callback_log log(log_level::info, [&](log_level, std::string_view line) { said += line; });
    store_open_options options;
    options.log = &log;
    auto const store = open_store(folder.path(), options);
    CHECK(store->stats().blocks == 20);
    for (auto const& block : blocks) CHECK(holds(*store, block.id));
    CHECK(said.find("20 blocks") != std::string::npos);
  }

  TEST_CASE("a process that died while it made the index left none") {
    for (auto const kind : {store_format::loose, store_format::pack}) {
      test_folder const folder;
      REQUIRE(in_child([&] {
                faulty_file_system files(folder.path());
                // Of the rows that are about to be committed.
                files.before = [](faulty_file_system::call what, std::string const& path) {
                  if (what == faulty_file_system::call::sync && path.empty()) ::_exit(7);
                };
                (void)open_store(
                    folder.path(),
                    {.create_block_bytes = 4096, .create_format = kind, .files = &files});
              }) == 7);
      auto const is_index = [](fs::directory_entry const& entry) {
        return entry.path().filename().string().find(".db") != std::string::npos;
      };
      auto const index =
          folder / (kind == store_format::loose ? ".blockstore/blocks.db" : ".blockstore/packs.db");
      CHECK_FALSE(fs::exists(index));
      if (kind == store_format::loose)
        CHECK(open_store(folder.path(), reading())->stats().blocks == 0);
      CHECK(open_store(folder.path(), {})->stats().blocks == 0);
      std::vector<fs::directory_entry> const left(fs::directory_iterator(folder / ".blockstore"),
                                                  fs::directory_iterator());
      CHECK(std::count_if(left.begin(), left.end(), is_index) == 1);
      CHECK(fs::exists(index));
    }
  }

  TEST_CASE("blocks of a process that died before its barrier are not held, and put rescues them") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    std::vector<test_block> blocks;
    for (std::uint64_t i = 0; i < 10; ++i) blocks.push_back(make_block(40 + i));
    REQUIRE(in_child([&] {
              auto* const store = open_test_store(folder.path()).release();
              for (auto const& block : blocks) (void)store->put(block.id, block.frame);
              ::_exit(0);
            }) == 0);
    REQUIRE(std::distance(fs::directory_iterator(folder / ".blockstore/tmp"),
                          fs::directory_iterator()) == 2);  // its folder and its lock
    std::string said;
    callback_log log(log_level::info, [&](log_level, std::string_view line) { said += line; });
    store_open_options options;
    options.log = &log;
    auto const store = open_store(folder.path(), options);
    CHECK(said.find("temporary files of 1 dumps") != std::string::npos);
    for (auto const& block : blocks) {
      CHECK_FALSE(holds(*store, block.id));
      CHECK_FALSE(store->put(block.id, block.frame));
    }
    store->barrier();
    CHECK(store->stats().blocks == blocks.size());
  }

  TEST_CASE("the temporary files of a living process are left alone") {
    test_folder const folder;
    auto const first = open_test_store(folder.path());
    auto const second = open_test_store(folder.path());
    auto const block = make_block(60);
    CHECK(first->put(block.id, block.frame));
    CHECK_FALSE(second->put(block.id, block.frame));
    second->barrier();
    CHECK(holds(*first, block.id));
  }

  TEST_CASE("one temporary folder that cannot be removed does not keep the others") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    auto const blockstore = folder / ".blockstore";
    for (auto const* const name : {"a", "b", "c", "d"}) {
      fs::create_directory(blockstore + "/tmp/" + name);
    }
    faulty_file_system files(blockstore);
    bool failed = false;
    files.before = [&](faulty_file_system::call which, std::string const& path) {
      if (which != faulty_file_system::call::remove || std::exchange(failed, true)) return;
      throw disk_error(EACCES, io_direction::write, "test", path);
    };
    CHECK(clean_scratch(blockstore, files, store_layout("")) == 3);
    files.before = nullptr;
    CHECK(clean_scratch(blockstore, files, store_layout("")) == 1);
  }

  TEST_CASE("four processes make one store at once and put overlapping sets") {
    test_folder const folder;
    std::vector<test_block> blocks;
    for (std::uint64_t i = 0; i < 120; ++i) blocks.push_back(make_block(200 + i));
    std::vector<pid_t> children;
    for (std::uint32_t c = 0; c < 4; ++c) {
      auto const child = ::fork();
      REQUIRE(child >= 0);
      if (child == 0) {
        int status = 1;
        try {
          store_open_options options;
          options.create_block_bytes = 4096 * (c + 1);
          auto const store = open_store(folder.path(), options);
          for (std::size_t i = 0; i < blocks.size(); ++i) {
            auto const& block = blocks[(i + c * 30) % blocks.size()];
            (void)store->put(block.id, block.frame);
            if (i % 30 == 29) store->barrier();
          }
          status = 0;
          for (auto const& block : blocks) status |= holds(*store, block.id) ? 0 : 2;
        } catch (std::exception const& failure) {
          (void)!::write(2, failure.what(), std::string_view(failure.what()).size());
        }
        ::_exit(status);
      }
      children.push_back(child);
    }
    for (auto const child : children) {
      int status = -1;
      REQUIRE(::waitpid(child, &status, 0) == child);
      CHECK(status == 0);
    }
    auto const store = open_store(folder.path(), {});
    CHECK(store->stats().blocks == blocks.size());
    for (auto const& block : blocks) CHECK(store->get(block.id) == block.frame);
    CHECK_FALSE(fs::exists(folder / ".blockstore/quarantine"));
  }

  TEST_CASE("a full file system: store_full with a remedy, and no torn or temporary file stays") {
    small_mount const mount("size=2m");
    if (!mount.mounted()) return;
    auto const store = open_test_store(mount.path());
    auto const failure = thrown_by([&] {
      for (std::uint64_t i = 0; i < 4000; ++i) {
        auto const block = make_block(i, 65536);
        (void)store->put(block.id, block.frame);
      }
    });
    CHECK(failure.code() == store_errc::store_full);
    CHECK(failure.cause().find("no space left") != std::string::npos);
    CHECK_FALSE(failure.remedy().empty());
    for (auto const& entry : fs::recursive_directory_iterator(mount.path())) {
      if (entry.path().extension() == ".lz4") CHECK(entry.file_size() > 32768);
    }
    auto const tmp = mount.path() + "/.blockstore/tmp";
    CHECK(std::distance(fs::recursive_directory_iterator(tmp),
                        fs::recursive_directory_iterator()) == 2);
  }

  TEST_CASE("a read-only file system: reading works, writing is refused with the cause") {
    small_mount const mount("size=8m");
    if (!mount.mounted()) return;
    auto const block = make_block(7);
    {
      auto const store = open_test_store(mount.path());
      (void)store->put(block.id, block.frame);
      store->barrier();
    }
    mount.make_read_only();
    auto const failure = thrown_by([&] { (void)open_test_store(mount.path()); });
    CHECK(failure.code() == store_errc::cannot_write);
    CHECK(failure.cause().find("read-only") != std::string::npos);

    auto const store = open_store(mount.path(), reading());
    CHECK(store->get(block.id) == block.frame);
    CHECK(holds(*store, block.id));
    CHECK(store->stats().blocks == 1);
    std::size_t listed = 0;
    store->list([&](stored_block const&) { ++listed; });
    CHECK(listed == 1);
    CHECK(thrown_by([&] { (void)store->put(block.id, block.frame); }).code() ==
          store_errc::cannot_write);
    CHECK(thrown_by([&] { store->remove(std::span(&block.id, 1)); }).code() ==
          store_errc::cannot_write);
    store->barrier();
  }

  TEST_CASE("opening for reading leaves the store as it was") {
    test_folder const folder;
    write_text(folder / ".blockstore/config.json",
               "{\"block_size\": 4096, \"hash_algo\": \"sha256\", \"version\": 1}");
    auto const store = open_store(folder.path(), reading());
    CHECK(store->stats().blocks == 0);
    CHECK_FALSE(holds(*store, make_block(1).id));
    CHECK(std::distance(fs::directory_iterator(folder / ".blockstore"), fs::directory_iterator()) ==
          1);
  }

  TEST_CASE(
      "blocks that may be lost since the machine went down are told of until a whole verify") {
    test_folder const folder;
    std::vector<std::string> lines;
    callback_log log{log_level::warning,
                     [&](log_level, std::string_view line) { lines.emplace_back(line); }};
    {
      auto const store = open_test_store(folder.path(), {.level = durability::none});
      (void)store->put(make_block(1).id, make_block(1).frame);
      store->barrier();
    }
    auto const note = folder / ".blockstore/unsynced";
    CHECK(std::filesystem::exists(note));
    (void)open_test_store(folder.path(), {.log = &log});
    CHECK(lines.empty());
    write_text(note, "of another boot");
    (void)open_test_store(folder.path(), {.log = &log});
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("diskdump verify") != std::string::npos);

    work_monitor monitor;
    (void)verify_store(folder.path(), {.sample_percent = 50.0}, monitor);
    (void)verify_store(folder.path(), {.repair = false}, monitor);
    {
      dump_lease const running(folder.path(), "maybe one of them");
      (void)verify_store(folder.path(), {}, monitor);
    }
    CHECK(std::filesystem::exists(note));
    (void)verify_store(folder.path(), {}, monitor);
    CHECK_FALSE(std::filesystem::exists(note));
  }
}

}  // namespace diskdump
