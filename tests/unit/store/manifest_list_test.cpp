#include <algorithm>
#include <thread>

#include "store/manifest.hpp"
#include "store_support.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

// An empty image's manifest.
void write_manifest(std::string const& path, std::string const& date) {
  write_text(path, "# diskdump manifest v1\n# source: h:/dev/sda\n# date: " + date +
                       "\n# block_size: 4096\n# total_blocks: 0\n# total_size: 0\n");
}

std::vector<std::string> paths_of(std::string const& base) {
  std::vector<std::string> paths;
  for (auto const& entry : list_manifests(base, nullptr)) paths.push_back(entry.path);
  return paths;
}

}  // namespace

TEST_SUITE("manifest_list") {
  TEST_CASE("the order is name, then date as a moment, then version") {
    test_folder const folder;
    write_manifest(folder / "2026/04/24/b.manifest", "2026-04-24T02:00:00+00:00");
    write_manifest(folder / "2026/04/24/a.10.manifest", "2026-04-24T02:00:00Z");
    write_manifest(folder / "2026/04/24/a.9.manifest", "2026-04-24T02:00:00Z");
    // Later in the text, earlier in time.
    write_manifest(folder / "2026/04/24/a.manifest", "2026-04-24T03:00:00+02:00");
    write_manifest(folder / ".blockstore/manifests/a/7.manifest", "2026-01-01");
    CHECK(paths_of(folder.path()) ==
          std::vector<std::string>{".blockstore/manifests/a/7.manifest", "2026/04/24/a.manifest",
                                   "2026/04/24/a.9.manifest", "2026/04/24/a.10.manifest",
                                   "2026/04/24/b.manifest"});
  }

  TEST_CASE("other files and circles of links are passed over, linked folders are not") {
    test_folder const folder;
    test_folder const elsewhere;
    write_manifest(folder / "2026/04/24/a.manifest", "2026-04-24");
    write_manifest(folder / "2026/04/24/.a.manifest", "2026-04-24");
    write_manifest(folder / "2026/04/24/a.manifest.bak", "2026-04-24");
    write_manifest(folder / "2026/4/24/a.manifest", "2026-04-24");
    write_manifest(folder / "notes/04/24/a.manifest", "2026-04-24");
    write_manifest(folder / ".blockstore/manifests/a/latest.manifest", "2026-04-24");
    write_text(folder / "2025", "a file");
    write_text(folder / ".blockstore/manifests/readme", "a file");
    fs::create_directories(folder / "2026/04/24/dir.manifest");
    fs::create_directory_symlink(folder.path(), folder / "2024");
    fs::create_directory_symlink(folder / "2023", folder / "2023");
    write_manifest(elsewhere / "04/24/b.manifest", "2022-04-24");
    fs::create_directory_symlink(elsewhere.path(), folder / "2022");
    CHECK(paths_of(folder.path()) ==
          std::vector<std::string>{"2026/04/24/a.manifest", "2022/04/24/b.manifest"});
  }

  TEST_CASE("a link that leads nowhere is named, and the others are listed") {
    test_folder const folder;
    write_manifest(folder / "2026/04/24/a.manifest", "2026-04-24");
    for (auto const* const link :
         {"2024", "2026/03", "2026/04/23", "2026/04/24/b.manifest", ".blockstore/manifests/x"}) {
      fs::create_directories(fs::path(folder / link).parent_path());
      fs::create_symlink("/nowhere/at/all", folder / link);
    }
    fs::create_directory_symlink("2023", folder / "2023");  // a circle
    write_text(folder / "2025", "a file");
    fs::create_symlink(folder / "2025", folder / "2022");
    std::vector<std::string> named;
    auto const found = list_manifests(folder.path(), [&](std::string const& path, error const& e) {
      CHECK(e.code() == store_errc::cannot_read);
      CHECK(e.path() == folder / path);
      CHECK(e.remedy().find("mount") != std::string::npos);
      named.push_back(path);
    });
    CHECK(found.size() == 1);
    std::sort(named.begin(), named.end());
    CHECK(named == std::vector<std::string>{".blockstore/manifests/x", "2023", "2024", "2026/03",
                                            "2026/04/23", "2026/04/24/b.manifest"});
    CHECK(find_manifest(folder.path(), "a") == folder / "2026/04/24/a.manifest");
    CHECK(newest_manifest(folder.path(), "a") == folder / "2026/04/24/a.manifest");
    CHECK(newest_manifest(folder.path(), "b").has_value());  // whoever opens it is told
    // The whole old layout may be elsewhere, too.
    fs::remove_all(folder / ".blockstore/manifests");
    fs::create_symlink("/nowhere/at/all", folder / ".blockstore/manifests");
    named.clear();
    (void)list_manifests(folder.path(),
                         [&](std::string const& path, error const&) { named.push_back(path); });
    CHECK(std::ranges::count(named, ".blockstore/manifests") == 1);
  }

  TEST_CASE("a damaged one is named and left out, the others are listed") {
    test_folder const folder;
    write_manifest(folder / "2026/04/24/a.manifest", "2026-04-24");
    write_text(folder / "2026/04/24/b.manifest", "nonsense");
    // Cut off: it is too short for the blocks that its header promises.
    write_text(folder / "2026/04/24/c.manifest",
               "# diskdump manifest v1\n# block_size: 4096\n# total_blocks: 100\n"
               "# total_size: 409600\n" +
                   std::string(64, 'a') + "\n");
    std::vector<std::string> damaged;
    auto const found = list_manifests(folder.path(), [&](std::string const& path, error const& e) {
      CHECK(e.code() == store_errc::damaged_manifest);
      damaged.push_back(path);
    });
    CHECK(found.size() == 1);
    std::sort(damaged.begin(), damaged.end());
    CHECK(damaged == std::vector<std::string>{"2026/04/24/b.manifest", "2026/04/24/c.manifest"});
    // An older image is not handed out in place of a damaged one.
    write_manifest(folder / "2026/04/23/b.manifest", "2026-04-23");
    CHECK(thrown_by([&] { (void)find_manifest(folder.path(), "b"); }).code() ==
          store_errc::damaged_manifest);
    CHECK(find_manifest(folder.path(), "2026/04/23/b") == folder / "2026/04/23/b.manifest");
  }

  TEST_CASE("paths are found with and without the ending, absolute or below DIR") {
    test_folder const folder;
    write_manifest(folder / "2026/04/24/a.manifest", "2026-04-24");
    write_manifest(folder / ".blockstore/manifests/x/0.manifest", "2026-04-24");
    auto const dated = folder / "2026/04/24/a.manifest";
    for (auto const& what : {std::string("2026/04/24/a.manifest"), std::string("2026/04/24/a"),
                             dated, folder / "2026/04/24/a", std::string("a")}) {
      CHECK(find_manifest(folder.path(), what) == dated);
    }
    for (auto const* const what : {"x/0", "x/0.manifest", ".blockstore/manifests/x/0", "x"}) {
      CHECK(find_manifest(folder.path(), what) == folder / ".blockstore/manifests/x/0.manifest");
    }
  }

  TEST_CASE("a name wins over an image file of the same name") {
    test_folder const folder;
    write_manifest(folder / "2026/04/24/disk.img.manifest", "2026-04-24");
    write_text(folder / "disk.img", "an image");
    CHECK(find_manifest(folder.path(), "disk.img") == folder / "2026/04/24/disk.img.manifest");
  }

  TEST_CASE("NAME~N counts back and NAME@DATE takes the newest of then") {
    test_folder const folder;
    write_manifest(folder / "2026/04/23/a.manifest", "2026-04-23T02:00:00+00:00");
    write_manifest(folder / "2026/04/24/a.manifest", "2026-04-24T02:00:00+00:00");
    write_manifest(folder / "2026/04/24/a.2.manifest", "2026-04-24T03:00:00+00:00");
    write_manifest(folder / "2026/05/01/a.manifest", "2026-05-01T02:00:00+00:00");
    auto const find = [&](std::string_view what) {
      return find_manifest(folder.path(), what).substr(folder.path().size() + 1);
    };
    CHECK(find("a") == "2026/05/01/a.manifest");
    CHECK(find("a~0") == "2026/05/01/a.manifest");
    CHECK(find("a~3") == "2026/04/23/a.manifest");
    CHECK(find("a@2026-04-24") == "2026/04/24/a.2.manifest");
    CHECK(find("a@2026-04") == "2026/04/24/a.2.manifest");
    CHECK(find("a@2026-04-24T02") == "2026/04/24/a.manifest");
    for (auto const* const what : {"a~4", "a~99999999999999999999", "a@2027", "a@", "b~1", ""}) {
      CAPTURE(what);
      CHECK(thrown_by([&] { (void)find(what); }).code() == store_errc::no_such_manifest);
    }
    write_manifest(folder / "2026/05/01/root@h-sda.manifest", "2026-05-01");
    CHECK(find("root@h-sda") == "2026/05/01/root@h-sda.manifest");
    CHECK(find("root@h-sda@2026-05") == "2026/05/01/root@h-sda.manifest");
  }

  TEST_CASE("the newest of a name is found by day and version, whatever the files hold") {
    test_folder const folder;
    auto const newest = [&](std::string_view name) {
      auto const path = newest_manifest(folder.path(), name);
      return path ? path->substr(folder.path().size() + 1) : "";
    };
    CHECK(newest("a").empty());
    write_manifest(folder / ".blockstore/manifests/a/7.manifest", "2026-01-01");
    write_manifest(folder / ".blockstore/manifests/a/10.manifest", "2026-01-01");
    write_manifest(folder / ".blockstore/manifests/b/99.manifest", "2026-01-01");
    CHECK(newest("a") == ".blockstore/manifests/a/10.manifest");
    write_manifest(folder / "2026/04/24/a.manifest", "2026-04-24");
    write_text(folder / "2026/04/24/a.10.manifest", "nonsense");
    write_manifest(folder / "2026/04/24/a.9.manifest", "2026-04-24");
    write_manifest(folder / "2026/05/01/ab.manifest", "2026-05-01");
    write_manifest(folder / "2027/01/01/b.manifest", "2027-01-01");
    write_manifest(folder / "2025/12/31/a.77.manifest", "2025-12-31");
    write_text(folder / "2028", "a file");
    fs::create_directories(folder / "2026/05/02/a.manifest");
    CHECK(newest("a") == "2026/04/24/a.10.manifest");
    CHECK(newest("ab") == "2026/05/01/ab.manifest");
    CHECK(newest("b") == "2027/01/01/b.manifest");
    CHECK(newest("a.10").empty());
    write_manifest(folder / "2026/05/01/a.manifest", "2026-05-01");
    CHECK(newest("a") == "2026/05/01/a.manifest");
  }

  TEST_CASE("near misses are named") {
    test_folder const folder;
    CHECK(
        thrown_by([&] { (void)find_manifest(folder.path(), "x"); }).cause().find("no manifests") !=
        std::string::npos);
    write_manifest(folder / "2026/04/24/server01-sda.manifest", "2026-04-24");
    write_manifest(folder / "2026/04/24/other.manifest", "2026-04-24");
    for (auto const* const what : {"server01-sdb", "server01", "server01-sda.img", "srver01-sda"}) {
      auto const failure = thrown_by([&] { (void)find_manifest(folder.path(), what); });
      CHECK(failure.code() == store_errc::no_such_manifest);
      CHECK(failure.remedy().find("did you mean server01-sda?") != std::string::npos);
    }
    CHECK(thrown_by([&] { (void)find_manifest(folder.path(), "zzz"); })
              .remedy()
              .find("did you mean") == std::string::npos);
  }

  TEST_CASE("eight threads that publish one name at once get eight versions") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        manifest_header header;
        header.geometry = {0, 4096};
        (void)manifest_writer(folder.path(), "a", header)
            .publish(std::chrono::system_clock::time_point{});
      });
    }
    for (auto& thread : threads) thread.join();
    std::vector<std::uint32_t> versions;
    for (auto const& entry : list_manifests(folder.path(), nullptr)) {
      versions.push_back(entry.version);
    }
    CHECK(versions == std::vector<std::uint32_t>{1, 2, 3, 4, 5, 6, 7, 8});
  }
}

}  // namespace diskdump
