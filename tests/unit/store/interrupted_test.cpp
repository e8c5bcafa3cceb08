#include "store/interrupted.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

#include <set>

#include "base/limits.hpp"
#include "faulty_file_system.hpp"
#include "store/gc.hpp"
#include "store_support.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

clock_source::wall const april{std::chrono::seconds(1776996000)};

manifest_header header_of(std::uint64_t blocks) {
  manifest_header header;
  header.source = "host:/dev/sda";
  header.date = iso_time(april);
  header.geometry = {blocks * 4096, 4096};
  return header;
}

// An interrupted dump of `total` blocks, of which numbers 0 to `known` were told.
void leave_interrupted(std::string const& base, std::string const& name, std::uint64_t known,
                       std::uint64_t total) {
  auto const store = open_test_store(base);
  manifest_writer writer(base, name, header_of(total), *store);
  for (std::uint64_t i = 0; i < known; ++i) writer.add(make_block(i).id);
  writer.comment(identity_key, "serial=1");
  writer.end_lists();
  store->barrier();
  writer.keep_interrupted();
}

std::uint64_t digests_in(std::optional<manifest_reader> reader) {
  REQUIRE(reader);
  std::uint64_t blocks = 0;
  while (reader->next()) ++blocks;
  return blocks;
}

}  // namespace

TEST_SUITE("interrupted") {
  TEST_CASE("what was told before the interruption reads back, and nothing else appears") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    leave_interrupted(folder.path(), "host-sda", 5, 100);
    CHECK(list_interrupted(folder.path()) == std::vector<std::string>{"host-sda"});
    auto reader = open_interrupted(folder.path(), "host-sda");
    REQUIRE(reader);
    CHECK(reader->header().geometry.image_bytes == 100 * 4096);
    std::uint64_t told = 0;
    while (reader->next()) ++told;
    CHECK(told == 5);
    CHECK(reader->header().extra.back().second == "serial=1");
    CHECK(list_manifests(folder.path(), [](auto const&, error const& e) { throw e; }).empty());
    CHECK(std::filesystem::is_empty(folder / ".blockstore/tmp"));
    // A later one takes its place.
    leave_interrupted(folder.path(), "host-sda", 7, 100);
    CHECK(digests_in(open_interrupted(folder.path(), "host-sda")) == 7);
    forget_interrupted(folder.path(), "host-sda");
    forget_interrupted(folder.path(), "host-sda");
    CHECK_FALSE(open_interrupted(folder.path(), "host-sda"));
    CHECK(list_interrupted(folder.path()).empty());
  }

  TEST_CASE("a writer that is taken back writes the text that one without it would have") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    auto const write = [&](std::string const& name, bool back) {
      // More than the buffer holds.
      manifest_writer writer(folder.path(), name, header_of(3000));
      if (back) {
        for (std::uint64_t i = 0; i < 2500; ++i) writer.add(make_block(i % 7).id);
        writer.comment("note", "goes as well");
        writer.rewind({2000});
      } else {
        for (std::uint64_t i = 0; i < 2000; ++i) writer.add(make_block(i % 7).id);
      }
      for (std::uint64_t i = 2000; i < 3000; ++i) writer.add(make_block(100 + i % 5).id);
      return read_text(folder / writer.publish(april));
    };
    auto const straight = write("straight", false);
    CHECK(straight == write("back", true));
  }

  TEST_CASE("a writer that is taken back to its start has its header only") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    manifest_writer writer(folder.path(), "x", header_of(1));
    writer.add(make_block(1).id);
    writer.rewind({0});
    writer.add(make_block(2).id);
    auto const path = writer.publish(april);
    manifest_reader reader(folder / path);
    CHECK(reader.next() == make_block(2).id);
    CHECK_FALSE(reader.next());
  }

  TEST_CASE("a disk that fails while it is kept is told of, and leaves an older one as it was") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    leave_interrupted(folder.path(), "x", 3, 100);
    faulty_file_system faulty(folder.path());
    manifest_writer writer(folder.path(), "x", header_of(100), &faulty);
    writer.add(make_block(1).id);
    faulty.fail_at(1, true);
    CHECK_THROWS_AS(writer.keep_interrupted(), error);
    CHECK(digests_in(open_interrupted(folder.path(), "x")) == 3);
  }

  TEST_CASE("what a full disk took of a write is not written again behind it") {
    enum class then : std::uint8_t { is_kept, goes_on, is_taken_back };
    // The cut falls on the end of a line, and into one.
    for (std::size_t const written : {std::size_t{650}, std::size_t{700}}) {
      for (auto const next : {then::is_kept, then::goes_on, then::is_taken_back}) {
        CAPTURE(written);
        CAPTURE(static_cast<int>(next));
        test_folder const folder;
        (void)open_test_store(folder.path());
        faulty_file_system full(folder.path());
        manifest_writer writer(folder.path(), "x", header_of(5000), &full);
        std::string lines;
        std::uint64_t added = 0;
        bool failed = false;
        full.before = [&](faulty_file_system::call which, std::string const& path) {
          if (which != faulty_file_system::call::append || failed) return;
          failed = true;
          std::ofstream(folder / path, std::ios::app) << lines.substr(0, written);
          throw disk_error(ENOSPC, io_direction::write, "write", path);
        };
        auto const add_until = [&](std::uint64_t blocks) {
          while (added < blocks) {
            auto const id = make_block(added++ % 7).id;
            lines += id.hex() + "\n";
            writer.add(id);
          }
        };
        CHECK(thrown_by([&] { add_until(5000); }).code() == store_errc::store_full);
        // Another program has made room.
        if (next == then::goes_on) add_until(3000);
        if (next == then::is_taken_back) writer.rewind({added -= 5});
        writer.comment(identity_key, "serial=1");
        writer.end_lists();
        writer.keep_interrupted();
        auto kept = open_interrupted(folder.path(), "x");
        REQUIRE(kept);
        std::vector<block_id> told;
        CHECK_NOTHROW([&] {
          while (auto const id = kept->next()) told.push_back(*id);
        }());
        CHECK(told.size() == added);
        std::uint64_t right = 0;
        while (right < told.size() && told[right] == make_block(right % 7).id) ++right;
        CHECK(right == told.size());
      }
    }
  }

  TEST_CASE("gc keeps what an interrupted dump has in the store until it is too old") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 10);
    leave_interrupted(folder.path(), "host-sda", 4, 100);
    work_monitor monitor;
    auto report = collect_garbage(folder.path(), {}, monitor);
    CHECK(report.freed.blocks == 6);
    CHECK(report.interrupted_expired == 0);
    auto const store = open_test_store(folder.path());
    for (std::uint64_t i = 0; i < 4; ++i) CHECK(holds(*store, make_block(i).id));

    auto const path = folder / (".blockstore/" + interrupted_file("host-sda"));
    auto const old =
        std::time(nullptr) -
        std::chrono::duration_cast<std::chrono::seconds>(limits::interrupted_keep).count() - 60;
    utimbuf const times{old, old};
    REQUIRE(::utime(path.c_str(), &times) == 0);
    CHECK(collect_garbage(folder.path(), {.dry_run = true}, monitor).interrupted_expired == 0);
    report = collect_garbage(folder.path(), {}, monitor);
    CHECK(report.interrupted_expired == 1);
    CHECK(report.freed.blocks == 4);
    CHECK(list_interrupted(folder.path()).empty());
  }

  TEST_CASE("a damaged one does not stop gc, and what can be read of it counts") {
    test_folder const folder;
    put_blocks(folder.path(), 0, 10);
    leave_interrupted(folder.path(), "host-sda", 4, 100);
    auto const path = folder / (".blockstore/" + interrupted_file("host-sda"));
    write_text(path, read_text(path) + "not a digest\n");
    work_monitor monitor;
    CHECK(collect_garbage(folder.path(), {}, monitor).freed.blocks == 6);
  }

  TEST_CASE("what a killed writer left beside a manifest's place goes with gc, nothing else does") {
    divided_store_folder const folder;
    auto const hidden = [&] {
      std::set<std::string> names;
      for (auto const& entry : std::filesystem::directory_iterator(folder / "2026/04/24")) {
        names.insert(entry.path().filename());
      }
      return names;
    };
    auto const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      faulty_file_system files(folder.path());
      manifest_writer writer(folder.path(), "a", header_of(1), &files);
      writer.add(make_block(0).id);
      writer.end_lists();
      files.before = [](faulty_file_system::call which, std::string const& path) {
        if (which == faulty_file_system::call::rename && path.ends_with(".manifest")) ::_exit(0);
      };
      (void)writer.publish(april);
      ::_exit(1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
    auto const left = hidden();
    REQUIRE(left.size() == 1);
    CHECK(left.begin()->ends_with(".tmp"));
    write_text(folder / "2026/04/24/.note.tmp", "of somebody else");
    // Beside one that lives: its copy stays.
    faulty_file_system files(folder.path());
    manifest_writer writer(folder.path(), "b", header_of(1), &files);
    writer.add(make_block(0).id);
    writer.end_lists();
    bool looked = false;
    files.before = [&](faulty_file_system::call which, std::string const& path) {
      if (looked || which != faulty_file_system::call::rename || !path.ends_with(".manifest"))
        return;
      looked = true;
      CHECK(hidden().size() == 3);
      (void)collect(folder.path());
      CHECK(hidden().size() == 2);
      CHECK_FALSE(hidden().contains(*left.begin()));
    };
    (void)writer.publish(april);
    files.before = nullptr;  // the writer's end may be seen by it
    CHECK(looked);
    CHECK(hidden() == std::set<std::string>{".note.tmp", "b.manifest"});
  }
}

}  // namespace diskdump
