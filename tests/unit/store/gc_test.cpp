#include "store/gc.hpp"

#include <fcntl.h>
#include <sys/wait.h>

#include <functional>
#include <thread>

#include "faulty_file_system.hpp"
#include "store/index.hpp"
#include "store/lease.hpp"
#include "store/lock_file.hpp"
#include "store/manifest.hpp"
#include "store/sqlite.hpp"
#include "store_support.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

bool has_file(std::string const& base, std::uint64_t number) {
  return fs::exists(block_file(base, make_block(number).id));
}

// The text of the error that `action` throws when somebody runs it whom permissions hold, but who
// owns what is below `base`; empty where it throws none.
std::string as_nobody(std::string const& base, std::function<void()> const& action) {
  constexpr uid_t nobody = 65534;
  if (::geteuid() == 0) {
    auto const give = [](fs::path const& path) {
      REQUIRE(::lchown(path.c_str(), nobody, nobody) == 0);
    };
    give(base);
    for (auto const& entry : fs::recursive_directory_iterator(base)) give(entry.path());
  }
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  auto const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::string text;
    try {
      if (::geteuid() == 0 && (::setgid(nobody) != 0 || ::setuid(nobody) != 0)) ::_exit(1);
      action();
    } catch (std::exception const& failure) {
      text = failure.what();
    }
    auto const written = ::write(ends[1], text.data(), text.size());
    ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text(4096, '\0');
  auto const length = ::read(ends[0], text.data(), text.size());
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  return text;
}

}  // namespace

TEST_SUITE("gc") {
  TEST_CASE("what a manifest of either layout names stays, what none names goes") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 10);
    publish_image(folder.path(), "kept", {0, 1, 2});
    auto const old = publish_image(folder.path(), "old", {3, 4});
    fs::create_directories(folder / ".blockstore/manifests/h.sda");
    fs::rename(folder / old, folder / ".blockstore/manifests/h.sda/0.manifest");

    auto const report = collect(folder.path());
    CHECK(report.manifests == 2);
    CHECK(report.blocks_named == 5);
    CHECK(report.condemned.blocks == 5);
    CHECK(report.freed.blocks == 5);
    CHECK(report.freed.stored_bytes == report.condemned.stored_bytes);
    CHECK(report.freed.stored_bytes > 0);
    CHECK(report.pending.blocks == 0);
    for (std::uint64_t i = 0; i < 10; ++i) CHECK(has_file(folder.path(), i) == (i < 5));
    auto const store = open_test_store(folder.path());
    CHECK(store->stats().blocks == 5);
    check_store(folder.path());
    // Nothing is left to do.
    CHECK(collect(folder.path()).freed.blocks == 0);
  }

  TEST_CASE("a manifest that a person moved elsewhere below the folder protects its blocks") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 3);
    auto const path = publish_image(folder.path(), "image", {0, 1});
    fs::create_directories(folder / "to keep/forever");
    fs::rename(folder / path, folder / "to keep/forever/january.manifest");
    write_text(folder / "elsewhere/other.manifest", "of another program\n");
    auto const report = collect(folder.path());
    CHECK(report.manifests == 1);
    CHECK(report.freed.blocks == 1);
    CHECK(has_file(folder.path(), 0));
    CHECK(has_file(folder.path(), 1));
  }

  TEST_CASE("a manifest protects its blocks however deep it lies") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    auto const manifest = publish_image(folder.path(), "image", {0}, nullptr);
    fs::path deep = folder.path();
    for (int depth = 0; depth < 40; ++depth) deep /= "kept";
    fs::create_directories(deep);
    fs::rename(folder / manifest, deep / "a.manifest");
    CHECK(collect(folder.path()).freed.blocks == 1);
    CHECK(has_file(folder.path(), 0));
  }

  TEST_CASE("a dry run says what would go and changes nothing") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 4);
    publish_image(folder.path(), "image", {0});
    auto const before = tree_of(folder.path());
    auto const report = collect(folder.path(), {.dry_run = true});
    CHECK(report.condemned.blocks == 3);
    CHECK(report.freed.blocks == 0);
    CHECK(tree_of(folder.path()) == before);
    CHECK(collect(folder.path()).freed.blocks == 3);
  }

  TEST_CASE("a dry run says what would go if manifests were gone") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 5);
    publish_image(folder.path(), "kept", {0, 1});
    auto const doomed = publish_image(folder.path(), "doomed", {1, 2, 3});
    auto const before = tree_of(folder.path());
    CHECK(collect(folder.path(), {.dry_run = true}).condemned.blocks == 1);
    gc_options options{.dry_run = true};
    options.without = {doomed};
    auto const report = collect(folder.path(), options);
    CHECK(report.manifests == 1);
    CHECK(report.condemned.blocks == 3);
    CHECK(tree_of(folder.path()) == before);
    fs::remove(folder / doomed);
    auto const real = collect(folder.path());
    CHECK(real.freed.blocks == report.condemned.blocks);
    CHECK(real.freed.stored_bytes == report.condemned.stored_bytes);
  }

  TEST_CASE("a block that a running dump was told is held stays until its lease has ended") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    {
      dump_lease const lease(folder.path(), "server01:/dev/sda");
      auto const store = open_test_store(folder.path());
      CHECK(holds(*store, make_block(0).id));
      auto const report = collect(folder.path());
      CHECK(report.condemned.blocks == 2);
      CHECK(report.freed.blocks == 0);
      CHECK(report.pending.blocks == 2);
      REQUIRE(report.waiting_for.size() == 1);
      CHECK(report.waiting_for[0] == "server01:/dev/sda");
      CHECK(has_file(folder.path(), 0));
      // The dump ends: its manifest names a block that it never sent.
      publish_image(folder.path(), "server01-sda", {0});
    }
    auto const report = collect(folder.path());
    CHECK(report.blocks_rescued == 1);
    CHECK(report.freed.blocks == 1);
    CHECK(has_file(folder.path(), 0));
    CHECK_FALSE(has_file(folder.path(), 1));
    CHECK(holds(*open_test_store(folder.path()), make_block(0).id));
    check_store(folder.path());
  }

  TEST_CASE("with wait it ends when the dumps have ended") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    auto lease = std::make_unique<dump_lease>(folder.path(), "h:/dev/sda");
    work_monitor monitor;
    gc_report report;
    std::jthread collecting(
        [&] { report = collect_garbage(folder.path(), {.wait = true}, monitor); });
    while (std::string_view(monitor.phase) != "waiting for dumps to end") std::this_thread::yield();
    CHECK(has_file(folder.path(), 1));
    publish_image(folder.path(), "h-sda", {1});
    lease.reset();
    collecting.join();
    CHECK(report.freed.blocks == 1);
    CHECK(report.blocks_rescued == 1);
    CHECK(has_file(folder.path(), 1));
  }

  TEST_CASE("a dump that starts after the condemnation is not waited for, and keeps what it puts") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 3);
    auto first = std::make_unique<dump_lease>(folder.path(), "first");
    CHECK(collect(folder.path()).pending.blocks == 3);
    // Condemned blocks are missing to the new dump, so it sends them.
    dump_lease const second(folder.path(), "second");
    auto const store = open_test_store(folder.path());
    auto const block = make_block(1);
    CHECK_FALSE(holds(*store, block.id));
    CHECK_FALSE(store->put(block.id, block.frame));  // the file is still there and good
    first.reset();
    // Block 1 is in the second dump's epoch: neither in the index nor in a manifest.
    auto const report = collect(folder.path());
    CHECK(report.freed.blocks == 2);
    CHECK(has_file(folder.path(), 1));
    store->barrier();
    CHECK(holds(*store, block.id));
    CHECK_FALSE(has_file(folder.path(), 0));
    check_store(folder.path());
  }

  TEST_CASE(
      "a block that a dump was told is held keeps its row though another one put it and died") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    auto told = std::make_unique<dump_lease>(folder.path(), "told that it is held");
    CHECK(collect(folder.path()).pending.blocks == 1);
    {
      dump_lease const dying(folder.path(), "dies before its barrier");
      auto const store = open_test_store(folder.path());
      CHECK_FALSE(store->put(make_block(0).id, make_block(0).frame));
    }
    publish_image(folder.path(), "image", {0}, nullptr);
    told.reset();
    CHECK(holds(*open_test_store(folder.path()), make_block(0).id));
    CHECK(collect(folder.path()).freed.blocks == 0);
    CHECK(holds(*open_test_store(folder.path()), make_block(0).id));
    check_store(folder.path());
  }

  TEST_CASE("a block whose file a crash took along with its mark left is put anew, and stays") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    auto first = std::make_unique<dump_lease>(folder.path(), "first");
    CHECK(collect(folder.path()).pending.blocks == 1);
    fs::remove(block_file(folder.path(), make_block(0).id));
    dump_lease const second(folder.path(), "second");
    auto const store = open_test_store(folder.path());
    CHECK(store->put(make_block(0).id, make_block(0).frame));
    first.reset();
    CHECK(collect(folder.path()).freed.blocks == 0);
    store->barrier();
    CHECK(has_file(folder.path(), 0));
    check_store(folder.path());
  }

  TEST_CASE("files of a dump that died are collected, those of one that runs are not") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    publish_image(folder.path(), "image", {0});
    write_text(block_file(folder.path(), make_block(7).id), "torn");
    dump_lease const running(folder.path(), "running");
    auto const store = open_test_store(folder.path());
    CHECK(store->put(make_block(8).id, make_block(8).frame));
    auto report = collect(folder.path());
    CHECK(report.condemned.blocks == 2);
    CHECK(report.freed.blocks == 0);
    store->barrier();
    CHECK(holds(*store, make_block(8).id));
    publish_image(folder.path(), "image", {8});
    {
      auto const path = folder / ".blockstore/leases";
      fs::remove_all(path);  // the lease ends; its file is gone
    }
    report = collect(folder.path());
    CHECK(report.freed.blocks == 1);
    CHECK_FALSE(has_file(folder.path(), 7));
    CHECK(has_file(folder.path(), 8));
    check_store(folder.path());
  }

  TEST_CASE("a failed dump's block that got its row after it was condemned as a stray has no row") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    auto lease = std::make_unique<dump_lease>(folder.path(), "fails in the end");
    auto const store = open_test_store(folder.path());
    CHECK(store->put(make_block(3).id, make_block(3).frame));
    CHECK(collect(folder.path()).condemned.blocks == 1);
    store->barrier();
    lease.reset();
    CHECK(collect(folder.path()).freed.blocks == 1);
    CHECK_FALSE(has_file(folder.path(), 3));
    CHECK(open_test_store(folder.path())->stats().blocks == 0);
    check_store(folder.path());
  }

  TEST_CASE("a manifest that cannot be read stops it before anything is condemned") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 3);
    auto const path = publish_image(folder.path(), "image", {0, 1});
    auto text = read_text(folder / path);
    text[text.size() - 10] = 'x';
    write_text(folder / path, text);
    auto const failure = thrown_by([&] { (void)collect(folder.path()); });
    CHECK(failure.code() == store_errc::damaged_manifest);
    CHECK(failure.path() == folder / path);
    CHECK(open_test_store(folder.path())->stats().blocks == 3);
    CHECK(has_file(folder.path(), 2));
  }

  TEST_CASE("a manifest whose very first line is damaged stops it as well") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    auto const path = publish_image(folder.path(), "image", {0});
    auto text = read_text(folder / path);
    text[3] = 'X';
    write_text(folder / path, text);
    CHECK(thrown_by([&] { (void)collect(folder.path()); }).code() == store_errc::damaged_manifest);
    CHECK(has_file(folder.path(), 0));
  }

  TEST_CASE("manifests behind a link that leads nowhere stop it before anything is condemned") {
    struct place {
      std::string link;
      std::string target;
    };
    for (auto const& [link, target] :
         {place{"2024", "/nowhere/2024"}, place{"2026/03", "/nowhere/03"},
          place{"2026/04/23", "/nowhere/23"}, place{"2024", "2024"},
          place{"2026/04/24/cold.manifest", "/nowhere/cold.manifest"},
          place{".blockstore/manifests", "/nowhere/manifests"},
          place{".blockstore/manifests/x", "/nowhere/x"}}) {
      CAPTURE(link);
      test_folder const folder;
      put_blocks(folder.path(), 0, 3);
      publish_image(folder.path(), "image", {0});
      fs::create_directories(fs::path(folder / link).parent_path());
      fs::create_symlink(target, folder / link);
      for (bool const dry : {true, false}) {
        auto const failure = thrown_by([&] { (void)collect(folder.path(), {.dry_run = dry}); });
        CHECK(failure.code() == store_errc::cannot_read);
        CHECK(failure.path() == folder / link);
      }
      CHECK(open_test_store(folder.path())->stats().blocks == 3);
      CHECK(has_file(folder.path(), 2));
      fs::remove(folder / link);
      CHECK(collect(folder.path()).freed.blocks == 2);
    }
  }

  TEST_CASE("manifests that it may not read stop it, wherever they lie") {
    // The path of what is made unreadable, of a manifest at "keep/forever/a.manifest".
    for (std::string const path : {"keep", "keep/forever", "keep/forever/a.manifest", "2026/04"}) {
      CAPTURE(path);
      test_folder const folder;
      put_blocks(folder.path(), 0, 3);
      auto const moved = publish_image(folder.path(), "image", {0});
      publish_image(folder.path(), "other", {1});
      fs::create_directories(folder / "keep/forever");
      fs::rename(folder / moved, folder / "keep/forever/a.manifest");
      // Nobody moves an image to where fsck puts what it finds, and only root can look there.
      fs::create_directories(folder / "lost+found");
      fs::permissions(folder / "lost+found", fs::perms::none);
      auto const collects = [&] {
        return as_nobody(folder.path(), [&] { (void)collect(folder.path(), {.dry_run = true}); });
      };
      CHECK(collects() == "");
      auto const before = fs::status(folder / path).permissions();
      fs::permissions(folder / path, fs::perms::none);
      auto const failure = collects();
      CHECK(failure.find(folder / path) != std::string::npos);
      CHECK(failure.find(sentence(store_errc::cannot_read)) != std::string::npos);
      fs::permissions(folder / path, before);
    }
  }

  TEST_CASE("a file that got its row since it was seen without one is not condemned as a stray") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    std::uint64_t rebuilt = 0;
    store_index index(
        {.path = folder / ".blockstore/blocks.db", .wait_max = std::chrono::milliseconds(100)}, {},
        rebuilt);
    stored_block const seen{make_block(0).id, 1};
    CHECK(index.condemn_strays(index.begin_collection(), std::span(&seen, 1)).blocks == 0);
    CHECK(index.collections().empty());
  }

  TEST_CASE("one collects at a time") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    auto const lock = lock_file::wait_for(folder / ".blockstore/gc.lock");
    CHECK(thrown_by([&] { (void)collect(folder.path()); }).code() == store_errc::busy);
    CHECK(has_file(folder.path(), 0));
  }

  TEST_CASE("told to stop, it decides nothing by half-read manifests") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 2);
    publish_image(folder.path(), "image", {0, 1});
    work_monitor monitor;
    monitor.stop = true;
    CHECK(collect_garbage(folder.path(), {}, monitor).stopped);
    CHECK(open_test_store(folder.path())->stats().blocks == 2);
  }

  TEST_CASE("restore and info still find what is condemned") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 1);
    dump_lease const lease(folder.path(), "relies on it");
    CHECK(collect(folder.path()).pending.blocks == 1);
    store_open_options options;
    options.read_only = true;
    auto const store = open_test_store(folder.path(), options);
    CHECK(holds(*store, make_block(0).id));
    CHECK(store->get(make_block(0).id) == make_block(0).frame);
  }

  TEST_CASE("the power is cut at every write of a collection") {
    for (auto const& [format, how] : every_power_cut()) {
      CAPTURE(static_cast<int>(format));
      CAPTURE(static_cast<int>(how));
      auto const cuts = at_every_write([&](std::uint64_t at) {
        test_folder const folder;
        make_store(folder.path(), format);
        put_blocks(folder.path(), 0, 6);
        put_blocks(folder.path(), 6, 6);
        publish_image(folder.path(), "image", {0, 1, 2});
        if (format == store_format::loose) {
          write_text(block_file(folder.path(), make_block(50).id), "torn");
        }
        bool const was_cut = cut_at_write(folder.path(), at, how, [&](file_system& files) {
          (void)collect(folder.path(), {.files = &files});
        });
        check_store(folder.path());
        // A dump of the same blocks succeeds at this moment, and the next gc ends the work.
        {
          auto const store = open_test_store(folder.path());
          dump_lease const lease(folder.path(), "after the cut");
          for (std::uint64_t i = 3; i < 6; ++i) {
            (void)store->put(make_block(i).id, make_block(i).frame);
          }
          store->barrier();
          publish_image(folder.path(), "second", {3, 4, 5});
        }
        (void)collect(folder.path());
        check_store(folder.path());
        // In a store of packs the list of each manifest is a block as well.
        auto const lists = format == store_format::loose ? 0U : 2U;
        CHECK(open_test_store(folder.path())->stats().blocks == 6 + lists);
        if (format == store_format::loose) CHECK(blocks_of(folder.path()) == 6);
        return was_cut;
      });
      // Packs: copy two blocks' files at most, then remove two.
      CHECK(cuts > (format == store_format::loose ? 8 : 4));
    }
  }
}

}  // namespace diskdump
