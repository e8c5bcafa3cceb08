#include "store/protection.hpp"

#include "faulty_file_system.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

TEST_SUITE("protection") {
  TEST_CASE("a manifest is protected until it is not") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 1);
    auto const path = publish_image(base, "a", {0});
    CHECK(protected_manifests(base).empty());
    CHECK(protect_manifest(base, path));
    CHECK_FALSE(protect_manifest(base, path));
    CHECK(protected_manifests(base) == std::set<std::string>{path});
    CHECK(read_text(base + "/.blockstore/protected/2026/04/24/a.manifest.protected").empty());
    CHECK(unprotect_manifest(base, path));
    CHECK_FALSE(unprotect_manifest(base, path));
    CHECK(protected_manifests(base).empty());
  }

  TEST_CASE("manifests of both layouts are, and no mark looks like a manifest") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 1);
    auto const old = ".blockstore/manifests/host.sda/0.manifest";
    write_text(base + "/" + old, read_text(base + "/" + publish_image(base, "a", {0})));
    CHECK(protect_manifest(base, old));
    CHECK(protected_manifests(base) == std::set<std::string>{old});
    CHECK(list_manifests(base, {}).size() == 2);
  }

  TEST_CASE("a mark is durable, and so is its end") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 1);
    auto const path = publish_image(base, "a", {0});
    faulty_file_system files(base);
    CHECK(protect_manifest(base, path, &files));
    files.cut_power(faulty_file_system::cut::undoes_changes);
    CHECK(is_protected(files, path));
    CHECK(unprotect_manifest(base, path, &files));
    files.cut_power(faulty_file_system::cut::undoes_changes);
    CHECK_FALSE(is_protected(files, path));
  }

  TEST_CASE("a path is taken apart whichever way it is written") {
    test_folder const folder;
    auto const base = folder / "disks";
    put_blocks(base, 0, 1);
    auto const path = publish_image(base, "a", {0});
    CHECK(manifest_below(base, base + "/" + path) == path);
    CHECK(manifest_below(base + "/", base + "/2026/../" + path) == path);
    CHECK(manifest_below(base + "/../disks", base + "/" + path) == path);
    std::filesystem::create_directory_symlink(base, folder / "link");
    CHECK(manifest_below(folder / "link", base + "/" + path) == path);
    CHECK(thrown_by([&] { (void)manifest_below(base, folder / "x.manifest"); }).code() ==
          store_errc::no_such_manifest);
  }
}

}  // namespace diskdump
