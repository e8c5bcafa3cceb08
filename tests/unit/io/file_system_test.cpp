#include "io/file_system.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "io/io_errc.hpp"
#include "io/simulated_file_system.hpp"
#include "scratch.hpp"

namespace diskdump {

namespace {

std::string text(file_system& fs, std::string const& path) {
  auto const bytes = fs.read(path, 1000);
  return bytes ? std::string(as_text(*bytes)) : std::string("(absent)");
}

// What every file system promises.
void file_system_conformance(file_system& fs) {
  SUBCASE("a created file has its content, and is not created twice") {
    CHECK(fs.create_exclusive("a", as_bytes("one")));
    CHECK_FALSE(fs.create_exclusive("a", as_bytes("two")));
    CHECK(text(fs, "a") == "one");
    fs.append("a", as_bytes("+two"));
    CHECK(as_text(*fs.read("a", 4, 2)) == "e+tw");
    CHECK(fs.read("a", 100, 1000)->empty());
    CHECK_FALSE(fs.read("b", 100).has_value());
    CHECK_FALSE(fs.read("b/c", 100).has_value());
    CHECK(fs.read("a", 0).has_value());
    CHECK_THROWS_AS((void)fs.read("", 1), error);
    CHECK_THROWS_AS(fs.append("b", as_bytes("x")), error);
  }
  SUBCASE("an open file is read from any place, and stays when its name goes") {
    fs.create_exclusive("a", as_bytes("0123456789"));
    auto const file = fs.open_readable("a");
    REQUIRE(file != nullptr);
    CHECK(file->size_bytes() == 10);
    byte_vector into(4);
    CHECK(file->read(into, 3) == 4);
    CHECK(as_text(into) == "3456");
    CHECK(file->read(into, 8) == 2);
    CHECK(as_text(into) == "8956");
    CHECK(file->read(into, 10) == 0);
    CHECK(file->read(into, 1000) == 0);
    fs.append("a", as_bytes("ab"));
    CHECK(file->read(into, 8) == 4);
    CHECK(as_text(into) == "89ab");
    CHECK(fs.remove("a"));
    fs.create_exclusive("a", as_bytes("another"));
    CHECK(file->read(into, 0) == 4);
    CHECK(as_text(into) == "0123");
    CHECK(fs.open_readable("b") == nullptr);
    CHECK(fs.open_readable("a/b") == nullptr);
    CHECK_THROWS_AS((void)fs.open_readable(""), error);
  }
  SUBCASE("a stamp tells a file from what has its name later") {
    fs.create_exclusive("a", as_bytes("one"));
    auto const first = fs.stamp("a");
    CHECK_FALSE(first.empty());
    CHECK(fs.read("a", 10).has_value());
    CHECK(fs.stamp("a") == first);
    fs.append("a", as_bytes("+two"));
    CHECK(fs.stamp("a") != first);
    auto const longer = fs.stamp("a");
    // Kept open, so that it is not the same file again by chance.
    auto const old = fs.open_readable("a");
    CHECK(fs.remove("a"));
    CHECK(fs.stamp("a").empty());
    CHECK(fs.stamp("a/b").empty());
    fs.create_exclusive("a", as_bytes("one+two"));
    CHECK(fs.stamp("a") != longer);
    CHECK_FALSE(fs.stamp("").empty());
  }
  SUBCASE("a rename never replaces") {
    fs.create_exclusive("a", as_bytes("one"));
    fs.create_exclusive("b", as_bytes("two"));
    CHECK_FALSE(fs.rename_noreplace("a", "b"));
    CHECK(text(fs, "b") == "two");
    CHECK(fs.rename_noreplace("a", "c"));
    CHECK(text(fs, "a") == "(absent)");
    CHECK(text(fs, "c") == "one");
    CHECK_THROWS_AS((void)fs.rename_noreplace("absent", "d"), error);
  }
  SUBCASE("directories are made with those above them, listed and removed") {
    fs.make_directories("x/y/z");
    fs.make_directories("x/y/z");
    fs.create_exclusive("x/file", as_bytes("12345"));
    auto entries = fs.list_directory("x", listing::sizes);
    std::sort(entries.begin(), entries.end(),
              [](auto const& a, auto const& b) { return a.name < b.name; });
    REQUIRE(entries.size() == 2);
    CHECK(entries[0].name == "file");
    CHECK(entries[0].kind == entry_kind::file);
    CHECK(entries[0].size_bytes == 5);
    CHECK(entries[1].name == "y");
    CHECK(entries[1].kind == entry_kind::directory);
    CHECK(fs.list_directory("absent").empty());
    CHECK(fs.list_directory("").size() == 1);
    CHECK(fs.remove("x/y/z"));
    CHECK(fs.remove("x/file"));
    CHECK_FALSE(fs.remove("x/file"));
    CHECK_THROWS_AS(fs.remove("x"), error);  // not empty
  }
  SUBCASE("files, directories and the whole can be synced") {
    fs.create_exclusive("a", as_bytes("one"));
    fs.sync(sync_scope::file, "a");
    fs.sync(sync_scope::directory, "");
    fs.sync(sync_scope::file_system, "");
    CHECK_THROWS_AS(fs.sync(sync_scope::file, "absent"), error);
  }
  SUBCASE("a file that is added to keeps its content under whatever name it gets") {
    auto const file = fs.create_appendable("a", write_back::early);
    REQUIRE(file);
    CHECK_FALSE(fs.create_appendable("a", write_back::late));
    CHECK(text(fs, "a").empty());
    file->append(as_bytes("one"));
    CHECK(fs.rename_noreplace("a", "b"));
    file->append(as_bytes("+two"));
    file->sync();
    CHECK(text(fs, "a") == "(absent)");
    CHECK(text(fs, "b") == "one+two");
    CHECK_THROWS_AS((void)fs.create_appendable("absent/a", write_back::late), error);
  }
  SUBCASE("a file that is added to in pieces of every size holds them all") {
    byte_vector all;
    {
      auto const file = fs.create_appendable("a", write_back::early);
      REQUIRE(file);
      constexpr std::size_t align = limits::direct_write_alignment_bytes;
      constexpr std::size_t large = limits::early_write_back_bytes_min;
      std::uint32_t next = 1;
      for (auto const size :
           {std::size_t{64}, large + 3, align - 1, 3 * large + align - 1, std::size_t{0},
            2 * large - (64 + large + 3 + align - 1 + 3 * large + align - 1) % align, large, align,
            limits::direct_write_bytes + large, large + 1}) {
        auto const begin = all.size();
        for (std::size_t i = 0; i < size; ++i) {
          next = next * 1664525 + 1013904223;
          all.push_back(static_cast<std::byte>(next >> 24));
        }
        auto const piece = byte_view(all).subspan(begin);
        file->reserve(all.size() + large);
        file->append(piece);
        // Read at once, as a block is that was just put; and its neighbours, which stay what they
        // were.
        byte_vector back(all.size());
        CHECK(fs.open_readable("a")->read(back, 0) == all.size());
        CHECK(back == all);
        if (size % 2 == 1) file->sync();
      }
    }
    // Nothing stays of what was reserved.
    auto const bytes = fs.read("a", all.size() + 1);
    REQUIRE(bytes);
    CHECK(bytes->size() == all.size());
    CHECK(*bytes == all);
  }
  SUBCASE("nothing is created below a directory that does not exist") {
    try {
      fs.create_exclusive("absent/a", as_bytes("x"));
      FAIL("created");
    } catch (error const& e) {
      CHECK(e.code() == io_errc::not_found);
      CHECK(e.path().ends_with("absent/a"));
    }
  }
}

}  // namespace

TEST_SUITE("file_system") {
  TEST_CASE("posix conforms") {
    scratch_directory dir;
    file_system_conformance(*make_posix_file_system(dir.path()));
  }
  TEST_CASE("simulated conforms") {
    simulated_file_system fs;
    file_system_conformance(fs);
  }

  TEST_CASE("the root is created only where that was asked for") {
    scratch_directory dir;
    CHECK_THROWS_AS((void)make_posix_file_system(dir / "new/root"), error);
    auto const fs = make_posix_file_system(dir / "new/root", true);
    CHECK(fs->create_exclusive("a", {}));
  }

  TEST_CASE("a FIFO is not waited for") {
    scratch_directory dir;
    auto const fs = make_posix_file_system(dir.path());
    REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
    CHECK_THROWS_AS((void)fs->read("fifo", 1), error);
  }

  TEST_CASE("a write that fails leaves no file behind") {
    scratch_directory dir;
    auto const fs = make_posix_file_system(dir.path());
    // A limit on the size of files stands for a full file system.
    struct limit {
      rlimit before{};
      void (*handler)(int) = std::signal(SIGXFSZ, SIG_IGN);
      limit() {
        ::getrlimit(RLIMIT_FSIZE, &before);
        rlimit const small{.rlim_cur = 4096, .rlim_max = before.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &small);
      }
      ~limit() {
        ::setrlimit(RLIMIT_FSIZE, &before);
        std::signal(SIGXFSZ, handler);
      }
    };
    byte_vector const large(100'000);
    {
      limit const applied;
      CHECK_THROWS_AS(fs->create_exclusive("a", large), error);
    }
    CHECK(text(*fs, "a") == "(absent)");
  }
}

TEST_SUITE("simulated_file_system") {
  TEST_CASE("the n-th change fails, and others do not") {
    simulated_file_system fs;
    fs.fail_change(2, ENOSPC);
    CHECK(fs.create_exclusive("a", as_bytes("one")));
    try {
      fs.create_exclusive("b", as_bytes("two"));
      FAIL("written");
    } catch (error const& e) {
      CHECK(e.code() == io_errc::no_space);
    }
    CHECK(fs.create_exclusive("b", as_bytes("two")));
    CHECK(fs.changes() == 3);
    fs.fail_change(1, EROFS, true);
    CHECK_THROWS_AS(fs.append("a", as_bytes("x")), error);
    CHECK_THROWS_AS((void)fs.remove("a"), error);
    CHECK(text(fs, "b") == "two");
    fs.heal();
    CHECK(fs.remove("a"));
    fs.fail_read(1, EIO);
    CHECK_THROWS_AS((void)fs.read("b", 1), error);
    CHECK(text(fs, "b") == "two");
  }

  TEST_CASE("a power cut takes what was not synced") {
    simulated_file_system fs;
    fs.make_directories("d");
    fs.create_exclusive("d/kept", as_bytes("one"));
    fs.sync(sync_scope::file_system, "");
    fs.append("d/kept", as_bytes("two"));
    fs.create_exclusive("d/new", as_bytes("x"));
    fs.rename_noreplace("d/kept", "d/moved");
    SUBCASE("all of it") {
      fs.power_cut(power_cut_leaves::nothing);
      CHECK(text(fs, "d/kept") == "one");
      CHECK(text(fs, "d/new") == "(absent)");
      CHECK(text(fs, "d/moved") == "(absent)");
    }
    SUBCASE("all but the names") {
      fs.power_cut(power_cut_leaves::names_without_data);
      CHECK(text(fs, "d/kept") == "(absent)");
      CHECK(text(fs, "d/moved") == "one");
      CHECK(text(fs, "d/new").empty());
    }
    SUBCASE("all but a file whose directory was not synced") {
      fs.sync(sync_scope::file, "d/new");
      fs.power_cut(power_cut_leaves::nothing);
      CHECK(text(fs, "d/new") == "(absent)");
    }
    SUBCASE("all but a file that was synced with its directory") {
      fs.sync(sync_scope::file, "d/new");
      fs.sync(sync_scope::directory, "d");
      fs.power_cut(power_cut_leaves::nothing);
      CHECK(text(fs, "d/new") == "x");
      CHECK(text(fs, "d/moved") == "one");
      CHECK(text(fs, "d/kept") == "(absent)");
    }
    SUBCASE("all but what an open file had synced, under the name it has now") {
      auto const file = fs.create_appendable("d/open", write_back::late);
      file->append(as_bytes("one"));
      file->sync();
      file->append(as_bytes("two"));
      fs.rename_noreplace("d/open", "d/renamed");
      fs.sync(sync_scope::directory, "d");
      fs.power_cut(power_cut_leaves::nothing);
      CHECK(text(fs, "d/renamed") == "one");
      CHECK(text(fs, "d/open") == "(absent)");
    }
    SUBCASE("a synced directory whose own name was not") {
      fs.make_directories("e");
      fs.create_exclusive("e/file", as_bytes("x"));
      fs.sync(sync_scope::file, "e/file");
      fs.sync(sync_scope::directory, "e");
      fs.power_cut(power_cut_leaves::nothing);
      CHECK(text(fs, "e/file") == "(absent)");
    }
  }
}

}  // namespace diskdump
