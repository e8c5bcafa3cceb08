#include "store/copy.hpp"

#include "faulty_file_system.hpp"
#include "pack_support.hpp"
#include "store/gc.hpp"
#include "store/verify.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

// Two stores, of which the first has blocks 0 to 9.
struct two_stores {
  explicit two_stores(store_format from_format, store_format to_format) {
    make_store(one.path(), from_format);
    make_store(other.path(), to_format);
    put_blocks(one.path(), 0, 10);
    from = open_test_store(one.path());
    to = open_test_store(other.path());
  }

  image_copy copy(std::string const& path) {
    image_copier copier({one.path(), *from}, {other.path(), *to}, 3, monitor);
    return copier.copy(one / path);
  }

  test_folder one;
  test_folder other;
  std::unique_ptr<block_store> from;
  std::unique_ptr<block_store> to;
  work_monitor monitor;
};

std::vector<std::uint64_t> many(std::uint64_t count) {
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < count; ++i) numbers.push_back(i * 7 % 9);
  return numbers;
}

// A block that has its place in the store of packs and other bytes.
void put_wrong(block_store& store, std::uint64_t number) {
  auto const id = make_block(number).id;
  store.remove(std::span(&id, 1));
  (void)store.put(id, make_block(number + 1000).frame);
  store.barrier();
}

// Says stop while the n-th block is read.
class stopping_store final : public block_store {
 public:
  stopping_store(block_store& real, work_monitor& monitor, unsigned at)
      : real_(real), monitor_(monitor), left_(at) {}

  std::vector<bool> missing(std::span<block_id const> ids) override { return real_.missing(ids); }
  bool put(block_id const& id, byte_view frame) override { return real_.put(id, frame); }
  void fetch(std::span<block_id const> ids, frame_batch& frames) override {
    if (--left_ == 0) monitor_.stop = true;
    real_.fetch(ids, frames);
  }
  void barrier() override { real_.barrier(); }
  void list(std::function<void(stored_block const&)> const& each) override { real_.list(each); }
  void remove(std::span<block_id const> ids) override { real_.remove(ids); }
  store_stats stats() override { return real_.stats(); }
  store_properties const& properties() const noexcept override { return real_.properties(); }

 private:
  block_store& real_;
  work_monitor& monitor_;
  unsigned left_;
};

}  // namespace

TEST_SUITE("copy") {
  TEST_CASE(
      "an image is whole in the other store, which had some of it, and brings nothing twice") {
    for (auto const from : both_formats) {
      for (auto const to : both_formats) {
        CAPTURE(static_cast<int>(from));
        CAPTURE(static_cast<int>(to));
        two_stores stores(from, to);
        put_blocks(stores.other.path(), 0, 4);
        // More than one list, and more than one look-up.
        auto const numbers = many(limits::copy_blocks_per_lookup + 5);
        auto const path = publish_image(stores.one.path(), "host-sda", numbers);
        auto const done = stores.copy(path);
        CHECK(done.outcome == image_copy::kind::copied);
        CHECK(done.path == path);
        CHECK(done.blocks == numbers.size());
        CHECK(done.blocks_copied == 5);
        CHECK(stores.monitor.done == numbers.size());
        CHECK(stores.monitor.bytes_done == numbers.size() * 4096);
        check_store(stores.other.path());
        manifest_reader a(stores.one / path, *stores.from);
        manifest_reader b(stores.other / path, *stores.to);
        for (auto const number : numbers) {
          auto const wanted = make_block(number).id;
          REQUIRE(a.next() == wanted);
          REQUIRE(b.next() == wanted);
        }
        CHECK_FALSE(b.next());
        auto const again = stores.copy(path);
        CHECK(again.outcome == image_copy::kind::present);
        CHECK(again.path == path);
        CHECK(again.blocks_copied == 0);
        CHECK(list_manifests(stores.other.path(), nullptr).size() == 1);
      }
    }
  }

  TEST_CASE("what people wrote comes back to the byte, by way of a store of packs") {
    two_stores stores(store_format::loose, store_format::pack);
    test_folder const third;
    make_store(third.path(), store_format::loose);
    manifest_header header;
    header.source = "host:/dev/sda";
    header.date = "2026-04-23T22:30:00-05:00";  // the day of its folder is another
    header.geometry = {3 * 4096 - 100, 4096};
    header.extra = {{"note", "of a person"}, {"resumed", "the dump of yesterday"}};
    manifest_writer writer(stores.one.path(), "disk.2", header);
    for (std::uint64_t const i : {0, 3, 1}) writer.add(make_block(i).id);
    writer.comment("bad_range", "4096 512");
    auto const path = writer.publish(clock_source::wall(std::chrono::seconds(1776996000)));
    REQUIRE(stores.copy(path).path == path);
    auto const back = open_test_store(third.path());
    image_copier copier({stores.other.path(), *stores.to}, {third.path(), *back}, 1,
                        stores.monitor);
    REQUIRE(copier.copy(stores.other / path).path == path);
    CHECK(read_text(third / path) == read_text(stores.one / path));
    check_store(third.path());
  }

  TEST_CASE("versions of a day keep their order, and one that differs is not taken for another") {
    two_stores stores(store_format::loose, store_format::pack);
    auto const first = publish_image(stores.one.path(), "a", {0, 1});
    auto const second = publish_image(stores.one.path(), "a", {0, 2});
    image_copier copier({stores.one.path(), *stores.from}, {stores.other.path(), *stores.to}, 1,
                        stores.monitor);
    CHECK(copier.copy(stores.one / first).path == first);
    CHECK(copier.copy(stores.one / second).path == second);
    CHECK(copier.copy(stores.one / first).outcome == image_copy::kind::present);
    CHECK(copier.copy(stores.one / second).path == second);
    CHECK(list_manifests(stores.other.path(), nullptr).size() == 2);
  }

  TEST_CASE("a manifest of 0.1.x keeps its name, and goes to the day of its date") {
    two_stores stores(store_format::loose, store_format::pack);
    auto const path = publish_image(stores.one.path(), "a", {0, 1});
    auto const old = ".blockstore/manifests/server01.sda/3.manifest";
    fs::create_directories(stores.one / ".blockstore/manifests/server01.sda");
    fs::rename(stores.one / path, stores.one / old);
    CHECK(stores.copy(old).path == "2026/04/24/server01.sda.manifest");
  }

  TEST_CASE("comments that no diskdump writes are left out, and too many fail their image") {
    for (auto const to : both_formats) {
      CAPTURE(static_cast<int>(to));
      two_stores stores(store_format::loose, to);
      auto const path = publish_image(stores.one.path(), "a", {0, 1});
      auto const text = read_text(stores.one / path);
      auto const long_key = std::string(limits::manifest_line_bytes_max - 10, 'k');
      write_text(stores.one / path,
                 text + "# : no key\n#:\n# " + long_key + ": v\n# note: stays\n");
      auto const done = stores.copy(path);
      REQUIRE(done.outcome == image_copy::kind::copied);
      manifest_reader reader(stores.other / done.path, *stores.to);
      while (reader.next()) {
      }
      REQUIRE(reader.header().extra.size() == 1);
      CHECK(reader.header().extra.front().first == "note");
      CHECK(stores.copy(path).outcome == image_copy::kind::present);

      // As many as may be, and without the two that are always written.
      auto const second = publish_image(stores.one.path(), "b", {0, 1});
      auto many_lines = read_text(stores.one / second);
      for (std::string_view const key : {"# source: ", "# date: "}) {
        auto const at = many_lines.find(key);
        many_lines.erase(at, many_lines.find('\n', at) + 1 - at);
      }
      for (std::size_t i = 3; i < limits::manifest_comment_lines_max; ++i) many_lines += "# n: v\n";
      write_text(stores.one / second, many_lines);
      auto const failed = stores.copy(second);
      CHECK(failed.outcome == image_copy::kind::failed);
      CHECK(failed.why.find("comment") != std::string::npos);
    }
  }

  TEST_CASE("a date that the clock cannot hold is passed over") {
    two_stores stores(store_format::loose, store_format::pack);
    auto const path = publish_image(stores.one.path(), "a", {0, 1});
    for (std::string const day : {"9999/12/31", "0001/01/01"}) {
      CAPTURE(day);
      fs::create_directories(stores.one / day);
      fs::copy_file(stores.one / path, stores.one / (day + "/a.manifest"));
      fs::remove_all(stores.other / "2026");
      stores.to = open_test_store(stores.other.path());
      CHECK(stores.copy(day + "/a.manifest").path == path);
    }
  }

  TEST_CASE("a block that is damaged or missing fails its image, with its place, and is not put") {
    for (auto const from : both_formats) {
      for (bool const missing : {false, true}) {
        CAPTURE(static_cast<int>(from));
        CAPTURE(missing);
        two_stores stores(from, store_format::pack);
        auto const bad = publish_image(stores.one.path(), "bad", {0, 1, 2, 3});
        auto const good = publish_image(stores.one.path(), "good", {0, 1, 4});
        auto const id = make_block(2).id;
        if (missing) {
          stores.from->remove(std::span(&id, 1));
        } else {
          put_wrong(*stores.from, 2);
        }
        image_copier copier({stores.one.path(), *stores.from}, {stores.other.path(), *stores.to}, 2,
                            stores.monitor);
        auto const failed = copier.copy(stores.one / bad);
        CHECK(failed.outcome == image_copy::kind::failed);
        CHECK(failed.why.find("block 2 of the image, bytes 8192 to 12287") != std::string::npos);
        CHECK(failed.why.find(id.hex()) != std::string::npos);
        CHECK(failed.why.find(missing ? "lacks" : "damaged") != std::string::npos);
        CHECK_FALSE(holds(*stores.to, id));
        CHECK(copier.copy(stores.one / good).outcome == image_copy::kind::copied);
        CHECK(list_manifests(stores.other.path(), nullptr).size() == 1);
        check_store(stores.other.path());
      }
    }
  }

  TEST_CASE("a list that is missing fails its image") {
    two_stores stores(store_format::pack, store_format::loose);
    auto const path = publish_image(stores.one.path(), "a", {0, 1});
    auto const list = manifest_reader(stores.one / path).next_list();
    REQUIRE(list);
    stores.from->remove(std::span(&list->id, 1));
    auto const done = stores.copy(path);
    CHECK(done.outcome == image_copy::kind::failed);
    CHECK(done.why.find("blocks 0 to 1 stand in the list") != std::string::npos);
    CHECK(list_manifests(stores.other.path(), nullptr).empty());
  }

  TEST_CASE("one that is told to stop leaves no manifest, and the next one ends the work") {
    two_stores stores(store_format::loose, store_format::pack);
    auto const path = publish_image(stores.one.path(), "a", many(20));
    stores.monitor.stop = true;
    CHECK(stores.copy(path).outcome == image_copy::kind::stopped);
    CHECK(list_manifests(stores.other.path(), nullptr).empty());
    stores.monitor.stop = false;
    CHECK(stores.copy(path).outcome == image_copy::kind::copied);
    check_store(stores.other.path());
  }

  TEST_CASE("one that is told to stop between two blocks of a group leaves no manifest either") {
    for (auto const which : both_formats) {
      CAPTURE(static_cast<int>(which));
      two_stores stores(which, store_format::pack);
      auto const path = publish_image(stores.one.path(), "a", many(20));
      stopping_store from(*stores.from, stores.monitor, 3);
      image_copier copier({stores.one.path(), from}, {stores.other.path(), *stores.to}, 1,
                          stores.monitor);
      CHECK(copier.copy(stores.one / path).outcome == image_copy::kind::stopped);
      CHECK(list_manifests(stores.other.path(), nullptr).empty());
    }
  }

  TEST_CASE("at every write the power is cut: what is there restores, and the next copy is whole") {
    for (auto const& [which, how] : every_power_cut()) {
      CAPTURE(static_cast<int>(which));
      CAPTURE(static_cast<int>(how));
      auto const cuts = at_every_write([&](std::uint64_t at) {
        two_stores stores(store_format::loose, which);
        auto const first = publish_image(stores.one.path(), "first", {0, 1, 2});
        auto const second = publish_image(stores.one.path(), "second", {2, 3, 4, 5});
        stores.to.reset();
        image_copy done;
        bool const was_cut = cut_at_write(stores.other.path(), at, how, [&](file_system& files) {
          auto const to = open_test_store(stores.other.path(), {.files = &files});
          image_copier copier({stores.one.path(), *stores.from}, {stores.other.path(), *to, &files},
                              1, stores.monitor);
          for (auto const& path : {first, second}) done = copier.copy(stores.one / path);
        });
        check_store(stores.other.path());
        if (done.outcome == image_copy::kind::copied) {
          CHECK(fs::exists(stores.other / done.path));
        }
        stores.to = open_test_store(stores.other.path());
        for (auto const& path : {first, second}) (void)stores.copy(path);
        check_store(stores.other.path());
        CHECK(list_manifests(stores.other.path(), nullptr).size() == 2);
        return was_cut;
      });
      CHECK(cuts > 10);
    }
  }

  TEST_CASE("a store is not copied to itself, nor to one with blocks of another size") {
    two_stores stores(store_format::loose, store_format::pack);
    opened_store const from{stores.one.path(), *stores.from};
    CHECK_THROWS_AS(check_can_copy(from, stores.one.path()), error);
    auto const link = stores.other / "link";
    fs::create_directory_symlink(stores.one.path(), link);
    CHECK_THROWS_AS(check_can_copy(from, link), error);
    check_can_copy(from, stores.other.path());
    check_can_copy(from, stores.other / "absent");
    check_same_block_size(from, {stores.other.path(), *stores.to});
    test_folder const third;
    auto const large = open_store(third.path(), {.create_block_bytes = 8192});
    auto const failure = thrown_by([&] { check_same_block_size(from, {third.path(), *large}); });
    CHECK(failure.code() == store_errc::block_size_differs);
    CHECK(std::string(failure.what()).find("init --block-size 4096") != std::string::npos);
  }
}

}  // namespace diskdump
