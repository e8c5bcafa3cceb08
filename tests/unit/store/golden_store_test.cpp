// A store that diskdump 0.1.5 wrote: read, extended and written alike. And one of packs, as the
// first release with packs writes it.
#include <sstream>

#include "store/manifest.hpp"
#include "store/sqlite.hpp"
#include "store_support.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

// A copy: SQLite writes beside the database even when it only reads.
class golden_copy {
 public:
  explicit golden_copy(char const* of = DISKDUMP_GOLDEN_STORE) {
    fs::copy(of, folder_.path(), fs::copy_options::recursive);
  }
  [[nodiscard]] std::string disks() const { return folder_ / "disks"; }
  // The digest of an image by its name in SHA256SUMS.
  [[nodiscard]] std::string sum(std::string const& image) const {
    std::istringstream sums(read_text(folder_ / "SHA256SUMS"));
    std::string digest;
    std::string name;
    while (sums >> digest >> name) {
      if (name == image) return digest;
    }
    return "none";
  }

 private:
  test_folder folder_;
};

// The SHA-256 of the image that a manifest stands for.
std::string restored_sum(block_store& store, std::string const& path) {
  manifest_reader reader(path, store);
  auto const geometry = reader.header().geometry;
  block_decompressor decompressor;
  byte_vector raw(limits::block_bytes_max);
  sha256_stream sum;
  std::uint64_t left = geometry.image_bytes;
  while (auto const id = reader.next()) {
    auto const frame = store.get(*id);
    REQUIRE(frame.has_value());
    auto const length = decompressor.lz4_frame(*frame, raw);
    CHECK(sha256(byte_view(raw).first(length)) == *id);
    auto const used = std::min<std::uint64_t>(length, left);
    sum.update(byte_view(raw).first(used));
    left -= used;
  }
  CHECK(left == 0);
  return sum.value().hex();
}

}  // namespace

TEST_SUITE("golden_store") {
  TEST_CASE("every manifest restores to the image it was made from") {
    golden_copy const golden;
    auto const store = open_store(golden.disks(), {});
    CHECK(store->properties().block_bytes == 131072);
    for (auto const& [manifest, image] : {
             std::pair{"server01.sda/0", "server01-sda.0.img"},
             std::pair{"server01.sda/1.manifest", "server01-sda.1.img"},
             std::pair{"host9.sdz/0", "server01-sda.0.img"},
             std::pair{"host9.nvme0n1/0", "tiny.img"},
             std::pair{"host9.vdb/0", "empty.img"},
             std::pair{"2026/04/24/server01-sda.manifest", "server01-sda.1.img"},
             std::pair{".blockstore/manifests/host9.sdz/0.manifest", "server01-sda.0.img"},
             std::pair{"server01-sda", "server01-sda.1.img"},
             std::pair{"server01.sda", "server01-sda.1.img"},
             std::pair{"server01.sda~1", "server01-sda.0.img"},
             std::pair{"server01.sda@2026-04-23", "server01-sda.0.img"},
             std::pair{"host9.sdz", "server01-sda.0.img"},
         }) {
      CAPTURE(manifest);
      CHECK(restored_sum(*store, find_manifest(golden.disks(), manifest)) == golden.sum(image));
    }
  }

  TEST_CASE("all six manifests are listed by name and age") {
    golden_copy const golden;
    std::vector<std::string> found;
    for (auto const &entry : list_manifests(golden.disks(), [](auto const& path, auto const&) {
           FAIL_CHECK("damaged: " << path);
         })) {
      found.push_back(entry.name + " " + std::to_string(entry.version) + " " + entry.path);
    }
    CHECK(found ==
          std::vector<std::string>{"host9.nvme0n1 0 .blockstore/manifests/host9.nvme0n1/0.manifest",
                                   "host9.sdz 0 .blockstore/manifests/host9.sdz/0.manifest",
                                   "host9.vdb 0 .blockstore/manifests/host9.vdb/0.manifest",
                                   "server01-sda 1 2026/04/24/server01-sda.manifest",
                                   "server01.sda 0 .blockstore/manifests/server01.sda/0.manifest",
                                   "server01.sda 1 .blockstore/manifests/server01.sda/1.manifest"});
  }

  TEST_CASE("the index agrees with the block files, and building it again gives the same rows") {
    golden_copy const golden;
    std::vector<std::pair<std::string, std::uint64_t>> rows;
    open_store(golden.disks(), {})->list([&](stored_block const& block) {
      CHECK(fs::file_size(block_file(golden.disks(), block.id)) == block.stored_bytes);
      rows.emplace_back(block.id.hex(), block.stored_bytes);
    });
    CHECK(rows.size() == 21);
    fs::remove(golden.disks() + "/.blockstore/blocks.db");
    std::vector<std::pair<std::string, std::uint64_t>> rebuilt;
    open_store(golden.disks(), {})->list([&](stored_block const& block) {
      rebuilt.emplace_back(block.id.hex(), block.stored_bytes);
    });
    CHECK(rebuilt == rows);
  }

  TEST_CASE("what we make of an index has the very table of 0.1.x, also in WAL mode") {
    golden_copy const golden;
    test_folder const own;
    (void)open_test_store(own.path());
    std::vector<std::string> schemas;
    for (auto const& base : {golden.disks(), own.path()}) {
      auto const path = base + "/.blockstore/blocks.db";
      sqlite_connection const db(path, SQLITE_OPEN_READWRITE, path, std::chrono::seconds(1));
      CHECK(db.query_text("PRAGMA journal_mode") == "wal");
      schemas.push_back(db.query_text("SELECT sql FROM sqlite_master WHERE name = 'blocks'"));
    }
    CHECK(schemas[0] == schemas[1]);
  }

  TEST_CASE("a block of 0.1.x is the frame that we would write, but for its linked blocks") {
    golden_copy const golden;
    auto const store = open_store(golden.disks(), {});
    byte_vector raw(131072);
    block_decompressor decompressor;
    store->list([&](stored_block const& block) {
      auto const frame = store->get(block.id);
      auto const length = decompressor.lz4_frame(*frame, raw);
      auto const ours = lz4_of(byte_view(raw).first(length));
      constexpr std::size_t one_lz4_block_bytes = 65536;
      if (length <= one_lz4_block_bytes) {
        CHECK(ours == *frame);
      } else {
        CHECK(ours.size() <= frame->size() + frame->size() / 100);
        CHECK(sha256(byte_view(raw).first(decompressor.lz4_frame(ours, raw))) == block.id);
      }
    });
  }

  TEST_CASE("a manifest of 0.1.x that we write again is the same to the byte") {
    golden_copy const golden;
    std::size_t compared = 0;
    for (auto const& entry : list_manifests(golden.disks(), nullptr)) {
      CAPTURE(entry.path);
      auto const path = golden.disks() + "/" + entry.path;
      manifest_reader reader(path);
      manifest_writer writer(golden.disks(), "again", reader.header());
      while (auto const id = reader.next()) writer.add(*id);
      auto const again = writer.publish(std::chrono::system_clock::time_point{});
      CHECK(read_text(golden.disks() + "/" + again) == read_text(path));
      ++compared;
    }
    CHECK(compared == 6);
  }

  TEST_CASE("its store takes new blocks beside the old ones") {
    golden_copy const golden;
    auto const block = make_block(1);
    {
      auto const store = open_store(golden.disks(), {});
      CHECK(store->put(block.id, block.frame));
      store->barrier();
    }
    auto const store = open_store(golden.disks(), {});
    CHECK(store->stats().blocks == 22);
    CHECK(store->get(block.id) == block.frame);
  }
}

TEST_SUITE("golden_packs") {
  // What it holds: two images that share blocks, zeros, repeats and a partial last block; an empty
  // one.
  void check_all(golden_copy const& golden) {
    auto const store = open_store(golden.disks(), {});
    auto const restored = [&](std::string const& manifest) {
      return restored_sum(*store, golden.disks() + "/" + manifest);
    };
    CHECK(restored("2026/11/26/web-sda.manifest") == golden.sum("web-sda.0.img"));
    CHECK(restored("2026/11/27/web-sda.manifest") == golden.sum("web-sda.1.img"));
    CHECK(restored("2026/11/27/db-sdb.manifest") == golden.sum("empty.img"));
    CHECK(store->stats().blocks == 11);  // two of them lists
  }

  TEST_CASE("every manifest restores to the image it was made from") {
    check_all(golden_copy(DISKDUMP_GOLDEN_PACKS));
  }

  TEST_CASE("and without the index, which is built again from the packs") {
    golden_copy const golden(DISKDUMP_GOLDEN_PACKS);
    fs::remove(golden.disks() + "/.blockstore/packs.db");
    check_all(golden);
  }

  TEST_CASE("its blocks are the frames that we would write, and its lists those of its images") {
    golden_copy const golden(DISKDUMP_GOLDEN_PACKS);
    auto const store = open_store(golden.disks(), {});
    byte_vector raw(limits::list_bytes_max);
    block_decompressor decompressor;
    store->list([&](stored_block const& block) {
      auto const frame = store->get(block.id);
      REQUIRE(frame.has_value());
      CHECK(lz4_of(byte_view(raw).first(decompressor.lz4_frame(*frame, raw))) == *frame);
    });
    for (auto const& entry : list_manifests(golden.disks(), nullptr)) {
      manifest_reader reader(golden.disks() + "/" + entry.path, *store);
      manifest_writer writer(golden.disks(), "again", reader.header(), *store);
      while (auto const id = reader.next()) writer.add(*id);
      auto const again = writer.publish(std::chrono::system_clock::time_point{});
      CHECK(read_text(golden.disks() + "/" + again) ==
            read_text(golden.disks() + "/" + entry.path));
    }
    store->barrier();
    CHECK(store->stats().blocks == 11);
  }
}

}  // namespace diskdump
