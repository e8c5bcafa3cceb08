// The power is cut at every write of a dump: its blocks, the barrier, its manifest. Collections are
// in gc_test.cpp, prunes in prune_test.cpp.
#include "faulty_file_system.hpp"
#include "power_cut_vfs.hpp"
#include "sqlite_trace.hpp"
#include "store/gc.hpp"
#include "store/lease.hpp"
#include "store/prune.hpp"
#include "store/reindex.hpp"
#include "store/store_parts.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

// Block files, or rows: what is in packs is free space without them.
std::uint64_t stored_in(std::string const& base, store_format format) {
  return format == store_format::loose ? blocks_of(base) : open_test_store(base)->stats().blocks;
}

std::size_t manifests_of(std::string const& base) {
  return list_manifests(base, [](auto const&, error const& e) { throw e; }).size();
}

// What a dump does with the store, in its order.
std::string dump(std::string const& base, std::string const& name,
                 std::vector<std::uint64_t> const& numbers, file_system* files,
                 durability level = durability::barrier) {
  auto const store =
      open_test_store(base, {.level = level, .create_block_bytes = 4096, .files = files});
  dump_lease const lease(base, name);
  clock_source::wall const day{std::chrono::seconds(1776996000)};
  manifest_header header;
  header.source = "host:/dev/" + name;
  header.date = iso_time(day);
  header.geometry = {numbers.size() * 4096, 4096};
  manifest_writer writer(base, name, header, *store, files);
  for (auto const number : numbers) {
    auto const block = make_block(number);
    if (!holds(*store, block.id)) (void)store->put(block.id, block.frame);
    writer.add(block.id);
  }
  store->barrier();
  return writer.publish(day);
}

// The power of files and index alike: it goes at the n-th change from now on, of whichever.
class common_power {
 public:
  common_power(faulty_file_system& files, power_cut_vfs& index, std::uint64_t at)
      : index_(index), at_(at) {
    files.before = [this](faulty_file_system::call what, std::string const& path) {
      using call = faulty_file_system::call;
      if (what == call::read || what == call::list || spend()) return;
      throw disk_error(EIO, io_direction::write, "test", path);
    };
    index_.may_change = [this] { return spend(); };
  }
  ~common_power() { index_.may_change = {}; }
  common_power(common_power const&) = delete;
  common_power& operator=(common_power const&) = delete;
  [[nodiscard]] bool is_gone() const noexcept { return calls_ >= at_; }

 private:
  bool spend() { return ++calls_ < at_; }
  power_cut_vfs& index_;
  std::uint64_t at_;
  std::atomic<std::uint64_t> calls_{0};
};

}  // namespace

TEST_SUITE("power_cut") {
  TEST_CASE(
      "at every write of a dump, what is there afterwards restores and the next dump succeeds") {
    for (auto const& [format, how] : every_power_cut()) {
      CAPTURE(static_cast<int>(format));
      CAPTURE(static_cast<int>(how));
      auto const cuts = at_every_write([&](std::uint64_t at) {
        test_folder const folder;
        make_store(folder.path(), format);
        (void)dump(folder.path(), "before", {1, 2, 3}, nullptr);
        bool published = false;
        bool const was_cut = cut_at_write(folder.path(), at, how, [&](file_system& files) {
          (void)dump(folder.path(), "during", {2, 3, 4, 5, 6}, &files);
          published = true;
        });
        check_store(folder.path());
        // A dump that said it was done is there.
        if (published) CHECK(std::filesystem::exists(folder / "2026/04/24/during.manifest"));
        (void)dump(folder.path(), "after", {4, 5, 6, 7}, nullptr);
        check_store(folder.path());
        work_monitor monitor;
        (void)collect_garbage(folder.path(), {}, monitor);
        check_store(folder.path());
        // A list for each manifest is a block of a store of packs.
        auto const lists = format == store_format::loose ? 0U : manifests_of(folder.path());
        CHECK(stored_in(folder.path(), format) == 7 + lists);
        // Nothing temporary is left by the one that was cut off.
        auto const tmp = folder / ".blockstore/tmp";
        CHECK(std::filesystem::is_empty(tmp));
        return was_cut;
      });
      CHECK(cuts > (format == store_format::loose ? 20 : 8));
    }
  }

  TEST_CASE("what a dump without durability brought is durable once a later one names it") {
    for (auto const& [format, how] : every_power_cut()) {
      CAPTURE(static_cast<int>(format));
      CAPTURE(static_cast<int>(how));
      // With something of its own to store, and without.
      for (std::vector<std::uint64_t> const& later :
           {std::vector<std::uint64_t>{1, 2, 3}, std::vector<std::uint64_t>{1, 2, 3, 4}}) {
        CAPTURE(later.size());
        test_folder const folder;
        make_store(folder.path(), format);
        std::string careless;
        {
          faulty_file_system files(folder.path());
          careless = dump(folder.path(), "careless", {1, 2, 3}, &files, durability::none);
          (void)dump(folder.path(), "later", later, &files);
          files.cut_power(how);
        }
        CHECK(std::filesystem::exists(folder / "2026/04/24/later.manifest"));
        // Nobody promised anything of it.
        std::filesystem::remove(folder / careless);
        check_store(folder.path());
      }
    }
  }

  TEST_CASE("at every write of a prune, every manifest that is left restores") {
    for (auto const& [format, how] : every_power_cut()) {
      CAPTURE(static_cast<int>(format));
      CAPTURE(static_cast<int>(how));
      auto const cuts = at_every_write([&](std::uint64_t at) {
        test_folder const folder;
        make_store(folder.path(), format);
        for (std::uint64_t version = 0; version < 4; ++version) {
          (void)dump(folder.path(), "image", {1, 2, 10 + version, 20 + version}, nullptr);
        }
        auto const prune = [&folder](file_system& files) {
          work_monitor monitor;
          auto const plan = make_prune_plan(
              folder.path(), [](std::string const&) { return true; }, {.last = 1}, 1, monitor);
          for (auto const& line : plan.lines) {
            if (!line.verdict.keep) (void)remove_manifest(files, line.entry.path);
          }
          (void)collect_garbage(folder.path(), {.files = &files}, monitor);
        };
        bool const was_cut = cut_at_write(folder.path(), at, how, prune);
        check_store(folder.path());
        CHECK(std::filesystem::exists(folder / "2026/04/24/image.4.manifest"));
        // The next one ends the work.
        auto const files = make_posix_file_system(folder.path());
        prune(*files);
        check_store(folder.path());
        CHECK(stored_in(folder.path(), format) == (format == store_format::loose ? 4U : 5U));
        return was_cut;
      });
      CHECK(cuts > 6);
    }
  }

  TEST_CASE("at every write of files and index, of a dump and a gc, every row is true afterwards") {
    using index_cut = power_cut_vfs::cut;
    using files_cut = faulty_file_system::cut;
    for (auto const format : both_formats) {
      for (auto const how : {files_cut::empties_files, files_cut::undoes_changes}) {
        CAPTURE(static_cast<int>(format));
        CAPTURE(static_cast<int>(how));
        std::uint64_t dropped = 0;
        auto const cuts = at_every_write([&](std::uint64_t at) {
          test_folder const folder;
          power_cut_vfs index;
          make_store(folder.path(), format);
          (void)dump(folder.path(), "before", {1, 2, 3}, nullptr);
          std::filesystem::remove(folder / dump(folder.path(), "gone", {3, 8, 9}, nullptr));
          bool published = false;
          bool was_cut = false;
          {
            faulty_file_system files(folder.path());
            common_power const power(files, index, at);
            try {
              (void)dump(folder.path(), "during", {2, 3, 4, 5, 6}, &files);
              published = true;
              (void)collect(folder.path(), {.files = &files});
            } catch (error const&) {
            }
            was_cut = power.is_gone();
            files.before = {};
            files.cut_power(how);
          }
          // In turn, since a round of all takes half a minute.
          index.cut_power(at % 2 == 0 ? index_cut::drops_all : index_cut::drops_some,
                          static_cast<std::uint32_t>(at));
          check_store(folder.path());
          if (published) CHECK(std::filesystem::exists(folder / "2026/04/24/during.manifest"));
          (void)dump(folder.path(), "after", {4, 5, 6, 7}, nullptr);
          (void)collect(folder.path());
          check_store(folder.path());
          auto const lists = format == store_format::loose ? 0U : manifests_of(folder.path());
          CHECK(stored_in(folder.path(), format) == 7 + lists);
          dropped += index.dropped();
          return was_cut;
        });
        CHECK(cuts > 40);
        CHECK(dropped > 0);
      }
    }
  }

  TEST_CASE("at every write of the making of a lost index, it is whole or is made again") {
    using index_cut = power_cut_vfs::cut;
    for (auto const format : both_formats) {
      for (auto const index_how : {index_cut::drops_all, index_cut::drops_some}) {
        CAPTURE(static_cast<int>(format));
        CAPTURE(static_cast<int>(index_how));
        auto const cuts = at_every_write([&](std::uint64_t at) {
          test_folder const folder;
          power_cut_vfs index;
          make_store(folder.path(), format);
          (void)dump(folder.path(), "before", {1, 2, 3}, nullptr);
          std::filesystem::remove(index_path(folder / ".blockstore", format));
          bool was_cut = false;
          {
            faulty_file_system files(folder.path());
            common_power const power(files, index, at);
            try {
              (void)open_test_store(folder.path(), {.files = &files});
            } catch (error const&) {
            }
            was_cut = power.is_gone();
            files.before = {};
            files.cut_power();
          }
          index.cut_power(index_how, static_cast<std::uint32_t>(at));
          check_store(folder.path());
          CHECK(stored_in(folder.path(), format) == (format == store_format::loose ? 3U : 4U));
          return was_cut;
        });
        CHECK(cuts > 6);
      }
    }
  }

  TEST_CASE("with an index whose syncs do nothing, the same cuts lose rows") {
    // Otherwise the cases above prove nothing.
    power_cut_vfs index;
    test_folder const folder;
    make_store(folder.path(), store_format::loose);
    index.ignores_syncs = true;
    (void)dump(folder.path(), "image", {1, 2, 3}, nullptr);
    index.cut_power(power_cut_vfs::cut::drops_all, 1);
    CHECK_FALSE(holds(*open_test_store(folder.path()), make_block(1).id));
  }

  // A reindex finds what a dump left that died; before it gives the row, gc takes that away, and
  // another dump puts the block again.
  TEST_CASE("a reindex gives no row to a block that is younger than its sync") {
    for (auto const& [format, how] : every_power_cut()) {
      CAPTURE(static_cast<int>(format));
      CAPTURE(static_cast<int>(how));
      test_folder const folder;
      make_store(folder.path(), format);
      faulty_file_system files(folder.path());
      // More than a writer of packs keeps in its buffer: the first of them are in the pack.
      auto const put_again = [&] {
        auto store = open_test_store(folder.path(), {.files = &files});
        for (std::uint64_t number = 0; number < 80; ++number) {
          auto const block = make_block(number, limits::list_bytes_max);
          (void)store->put(block.id, block.frame);
        }
        return store;
      };
      put_again()->barrier();
      {
        auto const path = index_path(folder / ".blockstore", format);
        sqlite_connection const db(path, SQLITE_OPEN_READWRITE, path, std::chrono::seconds(1));
        db.execute("DELETE FROM blocks");
      }
      std::unique_ptr<block_store> running;
      {
        sqlite_trace trace;
        bool synced = false;
        files.before = [&](faulty_file_system::call what, std::string const& path) {
          if (what == faulty_file_system::call::sync && path.empty()) synced = true;
        };
        trace.begun = [&](std::string_view sql) {
          if (sql != "BEGIN IMMEDIATE" || !synced || running) return;
          CHECK(collect(folder.path(), {.files = &files}).stopped == false);
          running = put_again();
        };
        work_monitor monitor;
        (void)rebuild_index(folder.path(), {.threads = 1, .files = &files}, monitor);
        REQUIRE(running);
      }
      files.before = {};
      files.fail_at(1, true);
      running.reset();
      files.cut_power(how);
      check_store(folder.path());
    }
  }
}

}  // namespace diskdump
