#include "store/manifest.hpp"

#include "base/limits.hpp"
#include "faulty_file_system.hpp"
#include "store/interrupted.hpp"
#include "store_support.hpp"

namespace diskdump {

namespace {

// 2026-04-24T02:00:00Z
clock_source::wall const april{std::chrono::seconds(1776996000)};

manifest_header sample_header(std::uint64_t image_bytes) {
  manifest_header header;
  header.source = "server01:/dev/sda";
  header.date = iso_time(april);
  header.geometry = {image_bytes, 4096};
  return header;
}

std::string publish(std::string const& base, std::string const& name, std::uint64_t blocks,
                    std::string const& date = iso_time(april)) {
  auto header = sample_header(blocks * 4096);
  header.date = date;
  manifest_writer writer(base, name, header);
  for (std::uint64_t i = 0; i < blocks; ++i) writer.add(make_block(i).id);
  return writer.publish(april);
}

std::string const digest_a(64, 'a');
std::string const digest_b(64, 'b');

std::string header_text(std::string_view blocks = "2", std::string_view bytes = "8192",
                        std::string_view block_bytes = "4096") {
  return "# diskdump manifest v1\n# source: h:/dev/sda\n# date: 2026-04-24T02:00:00Z\n"
         "# block_size: " +
         std::string(block_bytes) + "\n# total_blocks: " + std::string(blocks) +
         "\n# total_size: " + std::string(bytes) + "\n";
}

// Reads the whole of `text` as a manifest; the number of blocks.
std::size_t read_all(std::string const& path) {
  manifest_reader reader(path);
  std::size_t blocks = 0;
  while (reader.next()) ++blocks;
  return blocks;
}

}  // namespace

TEST_SUITE("manifest") {
  TEST_CASE("what is written is the text of 0.1.x, and reads back") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    auto const a = make_block(1).id;
    auto const b = make_block(2).id;
    auto header = sample_header(4097);
    header.extra = {{"agent", "native"}};
    std::string path;
    {
      manifest_writer writer(folder.path(), "server01-sda", header);
      writer.add(a);
      writer.comment("bad_sectors", "512+512");
      writer.add(b);
      path = writer.publish(april);
    }
    CHECK(path == "2026/04/24/server01-sda.manifest");
    CHECK(read_text(folder / path) ==
          "# diskdump manifest v1\n# source: server01:/dev/sda\n"
          "# date: 2026-04-24T02:00:00+00:00\n# block_size: 4096\n# total_blocks: 2\n"
          "# total_size: 4097\n# agent: native\n" +
              a.hex() + "\n# bad_sectors: 512+512\n" + b.hex() + "\n");
    CHECK(std::filesystem::is_empty(folder / ".blockstore/tmp"));

    manifest_reader reader(folder / path);
    CHECK(reader.header().source == "server01:/dev/sda");
    CHECK(reader.header().geometry.image_bytes == 4097);
    CHECK(reader.next() == a);
    CHECK(reader.next() == b);
    CHECK_FALSE(reader.next().has_value());
    CHECK(reader.header().extra == std::vector<std::pair<std::string, std::string>>{
                                       {"agent", "native"}, {"bad_sectors", "512+512"}});
  }

  TEST_CASE("a second dump of the day stands beside the first") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    CHECK(publish(folder.path(), "a", 1) == "2026/04/24/a.manifest");
    CHECK(publish(folder.path(), "a", 2) == "2026/04/24/a.2.manifest");
    CHECK(publish(folder.path(), "a", 0) == "2026/04/24/a.3.manifest");
    auto const found = list_manifests(folder.path(), nullptr);
    REQUIRE(found.size() == 3);
    CHECK(found[2].path == "2026/04/24/a.3.manifest");
    CHECK(find_manifest(folder.path(), "a") == folder / "2026/04/24/a.3.manifest");
    CHECK(find_manifest(folder.path(), "a~1") == folder / "2026/04/24/a.2.manifest");
  }

  TEST_CASE("comments, blank lines and a missing line end are taken as they come") {
    test_folder const folder;
    auto const path = folder / "m.manifest";
    write_text(path, header_text() + "# unknown: x\n#\n# no colon\n\n" + digest_a +
                         "\n# between: y\n\n" + digest_b);
    manifest_reader reader(path);
    CHECK(reader.header().date == "2026-04-24T02:00:00Z");
    CHECK(reader.next()->hex() == digest_a);
    CHECK(reader.next()->hex() == digest_b);
    CHECK_FALSE(reader.next().has_value());
    CHECK(reader.header().extra.size() == 2);
    CHECK(reader.header().extra[1] == std::pair<std::string, std::string>("between", "y"));
  }

  TEST_CASE("an image without source and date can still be read") {
    test_folder const folder;
    auto const path = folder / "m.manifest";
    write_text(path,
               "# diskdump manifest v1\n# total_size: 1\n# total_blocks: 1\n"
               "# block_size: 4096\n" +
                   digest_a + "\n");
    CHECK(read_all(path) == 1);
  }

  TEST_CASE("damage is reported with file and line") {
    struct sample {
      std::string text;
      std::string cause;
    };
    auto const body = digest_a + "\n" + digest_b + "\n";
    for (auto const& [text, cause] : {
             sample{"", "line 1: it is not"},
             sample{body, "line 1: it is not"},
             sample{"# diskdump manifest v3\n" + body, "line 1: \"diskdump manifest v3\""},
             sample{"\x7f"
                    "ELF\x02\x01" +
                        std::string(100, '\0'),
                    "line 1: it is not"},
             sample{header_text() + digest_a + "\n" + digest_b.substr(1) + "\n",
                    "line 8: not a block digest"},
             sample{header_text() + digest_a + "\n" + digest_b + "b\n",
                    "line 8: not a block digest"},
             sample{header_text() + std::string(64, 'A') + "\n", "line 7: not a block digest"},
             sample{header_text() + std::string(64, 'g') + "\n", "line 7: not a block digest"},
             sample{header_text() + digest_a + "\r\n", "line 7: it ends in a carriage return"},
             sample{header_text() + digest_a + "\n" + std::string(64, '\0') + "\n",
                    "line 8: not a block digest"},
             sample{header_text() + digest_a + "\n", "line 8: the file ends after 1 of 2 blocks"},
             sample{header_text(), "line 7: the file ends after 0 of 2 blocks"},
             sample{header_text() + body + digest_a + "\n", "line 9: there are more than 2 blocks"},
             sample{header_text("3") + body,
                    "line 6: total_size 8192 makes 2 blocks of 4096, not 3 as line 5 says"},
             sample{header_text("2", "8193") + body,
                    "line 6: total_size 8193 makes 3 blocks of 4096, not 2"},
             sample{header_text("2", "4096") + body,
                    "line 6: total_size 4096 makes 1 blocks of 4096, not 2"},
             sample{header_text("2", "x") + body, "line 6: total_size is not a number"},
             sample{header_text("-2") + body, "line 5: total_blocks is not a number"},
             sample{header_text("2", "99999999999999999999999") + body,
                    "total_size is not a number"},
             sample{header_text("2", "18446744073709551615") + body, "is more than"},
             sample{header_text("2", "8192", "0") + body, "block_size 0 is not between"},
             sample{header_text("2", "8192", "4294967296") + body, "is not between"},
             sample{header_text() + "# total_size: 8192\n" + body, "line 7: total_size stands"},
             sample{"# diskdump manifest v1\n# total_blocks: 0\n# total_size: 0\n",
                    "the header has no block_size"},
             sample{"# diskdump manifest v1\n# block_size: 1\n# total_size: 0\n",
                    "the header has no total_blocks"},
             sample{"# diskdump manifest v1\n# block_size: 1\n# total_blocks: 0\n",
                    "the header has no total_size"},
             sample{header_text() + "# " + std::string(9000, 'x') + "\n" + body,
                    "line 7: it is longer than 8192 bytes"},
             sample{header_text() + std::string(200000, 'a'), "line 7: it is longer"},
             sample{header_text() + body + "\x1b[2J", "line 9: not a block digest"},
         }) {
      CAPTURE(text.substr(0, 300));
      test_folder const folder;
      auto const path = folder / "m.manifest";
      write_text(path, text);
      auto const failure = thrown_by([&] { (void)read_all(path); });
      CHECK(failure.code() == store_errc::damaged_manifest);
      CHECK(failure.kind() == severity::corruption);
      CHECK(failure.path() == path);
      CAPTURE(failure.what());
      CHECK(failure.cause().find(cause) != std::string::npos);
      CHECK(failure.cause().find('\x1b') == std::string::npos);
    }
  }

  TEST_CASE("endless comments and 10 GB of nothing end early") {
    test_folder const folder;
    auto const path = folder / "m.manifest";
    std::string text = header_text();
    for (std::size_t i = 0; i < limits::manifest_comment_lines_max; ++i) text += "#\n";
    write_text(path, text);
    CHECK(thrown_by([&] { (void)read_all(path); }).cause().find("comment lines") !=
          std::string::npos);
    write_text(path, header_text());
    std::filesystem::resize_file(path, 10ULL << 30);
    CHECK(thrown_by([&] { (void)read_all(path); }).cause().find("longer than") !=
          std::string::npos);
  }

  TEST_CASE("what is no file is no manifest") {
    test_folder const folder;
    for (auto const& path : {folder.path(), folder / "absent", std::string("/dev/null")}) {
      CHECK(thrown_by([&] { manifest_reader const reader(path); }).code() ==
            store_errc::no_such_manifest);
    }
  }

  TEST_CASE("a manifest that was not published leaves nothing behind") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    {
      manifest_writer writer(folder.path(), "a", sample_header(8192));
      writer.add(make_block(1).id);
    }
    CHECK(std::filesystem::is_empty(folder / ".blockstore/tmp"));
    CHECK(list_manifests(folder.path(), nullptr).empty());
    CHECK(thrown_by([&] {
            manifest_writer const w(folder.path(), "../x", sample_header(0));
          }).code() == store_errc::bad_name);
  }

  TEST_CASE("line ends in a source do not make lines, and long values are cut") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    auto header = sample_header(0);
    header.source = "h:/dev/a\n# total_size: 5";
    header.extra = {{"note", std::string(20000, 'n')}};
    manifest_writer writer(folder.path(), "a", header);
    manifest_reader const reader(folder / writer.publish(april));
    CHECK(reader.header().source == "h:/dev/a\\x0a# total_size: 5");
    CHECK(reader.header().extra[0].second.size() > 5000);
  }

  TEST_CASE("a failure at any call of the writer leaves no manifest and no temporary file") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    std::uint64_t failures = 0;
    for (std::uint64_t n = 1;; ++n) {
      faulty_file_system files(folder.path());
      files.fail_at(n, false);
      try {
        manifest_writer writer(folder.path(), "a", sample_header(3000 * 4096), &files);
        for (std::uint64_t i = 0; i < 3000; ++i) writer.add(block_id{});
        (void)writer.publish(april);
        break;
      } catch (error const& failure) {
        CHECK(failure.code() == store_errc::cannot_write);
      }
      ++failures;
      CHECK(list_manifests(folder.path(), nullptr).empty());
      (void)open_test_store(folder.path());  // what a failing removal left is cleaned here
      CHECK(std::filesystem::is_empty(folder / ".blockstore/tmp"));
    }
    CHECK(failures >= 9);
    CHECK(list_manifests(folder.path(), nullptr).size() == 1);
  }

  TEST_CASE("a dump whose manifest could not be made durable can still be kept for later") {
    // Whether the name can be taken back, or only removed, or stays.
    for (unsigned const calls_after : {2U, 1U, 0U}) {
      CAPTURE(calls_after);
      test_folder const folder;
      (void)open_test_store(folder.path());
      faulty_file_system files(folder.path());
      manifest_writer writer(folder.path(), "a", sample_header(3 * 4096), &files);
      for (std::uint64_t i = 0; i < 3; ++i) writer.add(make_block(i).id);
      bool broken = false;
      files.before = [&](faulty_file_system::call which, std::string const& path) {
        using call = faulty_file_system::call;
        if (which == call::sync && path == "2026/04/24") broken = true;
        if (!broken) return;
        bool const allowed = (which == call::rename && calls_after > 1) ||
                             (which == call::remove && calls_after > 0);
        if (!allowed) throw disk_error(EIO, io_direction::write, "test", path);
      };
      CHECK(thrown_by([&] { (void)writer.publish(april); }).code() == store_errc::cannot_write);
      files.before = nullptr;
      CHECK(list_manifests(folder.path(), nullptr).size() == (calls_after > 0 ? 0 : 1));
      writer.end_lists();
      writer.comment(identity_key, "serial=1");
      if (calls_after < 2) {
        CHECK(thrown_by([&] { writer.keep_interrupted(); }).code() == store_errc::cannot_write);
        CHECK(list_interrupted(folder.path()).empty());
        continue;
      }
      writer.keep_interrupted();
      CHECK(std::filesystem::is_empty(folder / "2026/04/24"));
      auto kept = open_interrupted(folder.path(), "a");
      REQUIRE(kept);
      for (std::uint64_t i = 0; i < 3; ++i) CHECK(kept->next() == make_block(i).id);
      CHECK_FALSE(kept->next());
      CHECK(kept->header().extra.size() == 1);
    }
  }

  TEST_CASE("it is kept as well where .blockstore is on another file system") {
    divided_store_folder const folder;
    faulty_file_system files(folder.path());
    manifest_writer writer(folder.path(), "a", sample_header(4096), &files);
    writer.add(make_block(0).id);
    files.before = [](faulty_file_system::call which, std::string const& path) {
      bool const of_day = path == "2026/04/24" && which == faulty_file_system::call::sync;
      if (of_day) throw disk_error(EIO, io_direction::write, "test", path);
    };
    CHECK_THROWS_AS((void)writer.publish(april), error);
    writer.end_lists();
    writer.keep_interrupted();
    CHECK(std::filesystem::is_empty(folder / "2026/04/24"));
    auto kept = open_interrupted(folder.path(), "a");
    REQUIRE(kept);
    CHECK(kept->next() == make_block(0).id);
  }

  TEST_CASE("a full disk leaves no part of a manifest that comes from another file system") {
    divided_store_folder const folder;
    faulty_file_system files(folder.path());
    {
      manifest_writer writer(folder.path(), "a", sample_header(4096), &files);
      writer.add(make_block(0).id);
      files.before = [](faulty_file_system::call which, std::string const& path) {
        bool const full = which == faulty_file_system::call::append && path.ends_with(".tmp");
        if (full) throw disk_error(ENOSPC, io_direction::write, "test", path);
      };
      CHECK_THROWS_AS((void)writer.publish(april), error);
    }
    CHECK(std::filesystem::is_empty(folder / "2026/04/24"));
  }

  TEST_CASE("a version that was removed does not come back as another image") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    for (int i = 0; i < 3; ++i) (void)publish(folder.path(), "a", 0);
    std::filesystem::remove(folder / "2026/04/24/a.2.manifest");
    std::filesystem::remove(folder / "2026/04/24/a.manifest");
    CHECK(publish(folder.path(), "a", 0) == "2026/04/24/a.4.manifest");
  }

  TEST_CASE("a name like a version is told from a version") {
    test_folder const folder;
    (void)open_test_store(folder.path());
    CHECK(publish(folder.path(), "foo", 1) == "2026/04/24/foo.manifest");
    CHECK(publish(folder.path(), "foo.2", 2) == "2026/04/24/foo.2.1.manifest");
    CHECK(publish(folder.path(), "foo", 3) == "2026/04/24/foo.2.manifest");
    CHECK(find_manifest(folder.path(), "foo") == folder / "2026/04/24/foo.2.manifest");
    CHECK(find_manifest(folder.path(), "foo.2") == folder / "2026/04/24/foo.2.1.manifest");
    CHECK(find_manifest(folder.path(), "foo~1") == folder / "2026/04/24/foo.manifest");
  }
}

}  // namespace diskdump
