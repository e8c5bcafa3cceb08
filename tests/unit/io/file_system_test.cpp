#include "io/file_system.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/error.hpp"
#include "io/io_errc.hpp"
#include "scratch.hpp"

namespace diskdump {

TEST_SUITE("file_system") {
  TEST_CASE("a created file has its content, and is not created twice") {
    scratch_directory dir;
    auto const fs = make_posix_file_system(dir.path());
    CHECK(fs->create_exclusive("a", as_bytes("one")));
    CHECK_FALSE(fs->create_exclusive("a", as_bytes("two")));
    CHECK(as_text(*fs->read("a", 100)) == "one");
    fs->append("a", as_bytes("+two"));
    CHECK(as_text(*fs->read("a", 4, 2)) == "e+tw");
    CHECK(fs->read("a", 100, 1000)->empty());
    CHECK_FALSE(fs->read("b", 100).has_value());
    CHECK(fs->read("a", 0).has_value());
  }

  TEST_CASE("a rename never replaces") {
    scratch_directory dir;
    auto const fs = make_posix_file_system(dir.path());
    fs->create_exclusive("a", as_bytes("one"));
    fs->create_exclusive("b", as_bytes("two"));
    CHECK_FALSE(fs->rename_noreplace("a", "b"));
    CHECK(as_text(*fs->read("b", 9)) == "two");
    CHECK(fs->rename_noreplace("a", "c"));
    CHECK_FALSE(fs->read("a", 9).has_value());
    CHECK(as_text(*fs->read("c", 9)) == "one");
  }

  TEST_CASE("directories are made with those above them, listed and removed") {
    scratch_directory dir;
    auto const fs = make_posix_file_system(dir / "new/root", true);
    fs->make_directories("x/y/z");
    fs->make_directories("x/y/z");
    fs->create_exclusive("x/file", as_bytes("12345"));
    auto entries = fs->list_directory("x");
    std::sort(entries.begin(), entries.end(),
              [](auto const& a, auto const& b) { return a.name < b.name; });
    REQUIRE(entries.size() == 2);
    CHECK(entries[0].name == "file");
    CHECK(entries[0].kind == entry_kind::file);
    CHECK(entries[0].size_bytes == 5);
    CHECK(entries[1].kind == entry_kind::directory);
    CHECK(fs->list_directory("absent").empty());
    CHECK(fs->remove("x/y/z"));
    CHECK(fs->remove("x/file"));
    CHECK_FALSE(fs->remove("x/file"));
    CHECK_THROWS_AS(fs->remove("x"), error);  // not empty
  }

  TEST_CASE("files, directories and the whole can be synced") {
    scratch_directory dir;
    auto const fs = make_posix_file_system(dir.path());
    fs->create_exclusive("a", as_bytes("one"));
    fs->sync(sync_scope::file, "a");
    fs->sync(sync_scope::directory, "");
    fs->sync(sync_scope::file_system, "");
    CHECK_THROWS_AS(fs->sync(sync_scope::file, "absent"), error);
  }

  TEST_CASE("errors name the whole path") {
    scratch_directory dir;
    auto const fs = make_posix_file_system(dir.path());
    try {
      fs->create_exclusive("absent/a", as_bytes("x"));
      FAIL("created below a directory that does not exist");
    } catch (error const& e) {
      CHECK(e.code() == io_errc::not_found);
      CHECK(e.path() == dir / "absent/a");
    }
    CHECK_THROWS_AS((void)make_posix_file_system(dir / "nowhere"), error);
    CHECK_THROWS_AS((void)fs->read("", 1), error);
    REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
    CHECK_THROWS_AS((void)fs->read("fifo", 1), error);
  }
}

}  // namespace diskdump
