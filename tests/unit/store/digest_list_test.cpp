// Manifests that name lists: what the store of packs has instead of a line per block.
#include "store/digest_list.hpp"

#include "faulty_file_system.hpp"
#include "pack_support.hpp"
#include "store/gc.hpp"
#include "store/interrupted.hpp"
#include "store/inventory.hpp"
#include "store/prune.hpp"
#include "store/verify.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t full = limits::list_digests_max;
clock_source::wall const list_day{std::chrono::seconds(1776996000)};

// Digests that no block needs to have.
block_id digest_of(std::uint64_t number) {
  byte_vector text(8);
  store_le<std::uint64_t>(text.data(), number);
  return sha256(text);
}

std::vector<block_id> digests(std::uint64_t first, std::uint64_t count) {
  std::vector<block_id> all;
  for (auto i = first; i < first + count; ++i) all.push_back(digest_of(i));
  return all;
}

manifest_header header_of_image(std::uint64_t blocks) {
  manifest_header header;
  header.source = "host:/dev/sda";
  header.date = iso_time(list_day);
  header.geometry = {blocks * 4096, 4096};
  return header;
}

std::string publish(std::string const& base, block_store& store, std::string const& name,
                    std::vector<block_id> const& all) {
  manifest_writer writer(base, name, header_of_image(all.size()), store);
  for (auto const& id : all) writer.add(id);
  store.barrier();
  return writer.publish(list_day);
}

std::vector<block_id> read_all(manifest_reader reader) {
  std::vector<block_id> found;
  while (auto const id = reader.next()) found.push_back(*id);
  return found;
}

std::vector<named_list> lists_in(std::string const& path) {
  manifest_reader reader(path);
  std::vector<named_list> found;
  while (auto const list = reader.next_list()) found.push_back(*list);
  return found;
}

// An image of `full` + 3 blocks of the store, few of which differ; the path of its manifest.
std::string publish_large(std::string const& base, std::string const& name) {
  put_blocks(base, 0, 8);
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < full; ++i) numbers.push_back(i % 5);
  numbers.insert(numbers.end(), {5, 6, 5});
  return publish_image(base, name, numbers);
}

}  // namespace

TEST_SUITE("digest_list") {
  TEST_CASE("a list's name reads back, and nothing else is one") {
    for (std::uint64_t i = 0; i < 100; ++i) {
      auto const name = list_name(digest_of(i));
      REQUIRE(name.size() == limits::manifest_bytes_per_list - 1);
      CHECK(list_of_name(name) == digest_of(i));
      // Bits that stand for nothing are not passed over: one list has one name.
      auto other = name;
      other.back() = other.back() == 'A' ? 'B' : 'A';
      auto const found = list_of_name(other);
      CHECK((!found || *found != digest_of(i)));
      CHECK_FALSE(list_of_name(name + "="));
      CHECK_FALSE(list_of_name(name.substr(1)));
      CHECK_FALSE(list_of_name("*" + name.substr(1)));
    }
    CHECK_FALSE(list_of_name(std::string(42, 'A') + "B"));
    CHECK(list_of_name(std::string(43, 'A')) == block_id{});
  }

  TEST_CASE("what is no list of its id is told apart") {
    auto const all = digests(0, 10);
    byte_view const raw(all.front().bytes.data(), all.size() * block_id::size_bytes);
    auto const frame = lz4_of(raw);
    CHECK(decode_list(sha256(raw), frame) == all);
    CHECK(thrown_by([&] { (void)decode_list(digest_of(0), frame); }).code() ==
          store_errc::damaged_block);
    CHECK_THROWS_AS((void)decode_list(sha256(raw), byte_view(frame).first(20)), error);
    auto const odd = raw.first(33);
    CHECK_THROWS_AS((void)decode_list(sha256(odd), lz4_of(odd)), error);
    CHECK_THROWS_AS((void)decode_list(sha256(byte_view()), lz4_of({})), error);
    byte_vector const long_one(limits::list_bytes_max + 32);
    CHECK_THROWS_AS((void)decode_list(sha256(long_one), lz4_of(long_one)), error);
  }

  TEST_CASE("an image of any length reads back, and a loose store has plain text") {
    for (std::uint64_t const count :
         {std::uint64_t{0}, std::uint64_t{1}, full - 1, full, full + 1, 2 * full, 3 * full + 7}) {
      CAPTURE(count);
      test_folder const loose;
      test_folder const pack;
      auto const plain_store = open_test_store(loose.path());
      auto const store = open_pack_store(pack.path());
      auto const all = digests(0, count);
      auto const plain = loose / publish(loose.path(), *plain_store, "a", all);
      auto const path = pack / publish(pack.path(), *store, "a", all);
      CHECK(read_all(manifest_reader(path, *store)) == all);
      CHECK(read_all(manifest_reader(plain)) == all);
      CHECK(read_all(manifest_reader(path, list_source(pack.path()))) == all);
      auto const text = read_text(path);
      CHECK(text.starts_with("# diskdump manifest v2\n# source: host:/dev/sda\n"));
      auto const lists = (count + full - 1) / full;
      CHECK(lists_in(path).size() == lists);
      CHECK(text.size() < 400 + lists * limits::manifest_bytes_per_list);
      CHECK(store->stats().blocks == lists);
      CHECK(plain_store->stats().blocks == 0);
      // To the byte what 0.1.x reads.
      auto const last = "# total_size: " + std::to_string(count * 4096) + "\n";
      auto const at = read_text(plain).find(last) + last.size();
      std::string lines;
      for (auto const& id : all) lines += id.hex() + "\n";
      CHECK(read_text(plain).substr(at) == lines);
      CHECK(list_manifests(pack.path(), nullptr).size() == 1);
    }
  }

  TEST_CASE("the text is that of the format's description, to the byte") {
    test_folder const folder;
    auto const store = open_pack_store(folder.path());
    manifest_header header;
    header.source = "server01:/dev/sda";
    header.date = "2026-04-24T02:00:00+00:00";
    header.geometry = {2 * 131072 + 1, 131072};
    header.extra = {{"note", "of a person"}};
    manifest_writer writer(folder.path(), "a", header, *store);
    for (auto const* const text : {"a", "b", "c"}) writer.add(sha256(as_bytes(text)));
    store->barrier();
    // The list is the SHA-256 of the three digests, computed by another program.
    CHECK(read_text(folder / writer.publish(list_day)) ==
          "# diskdump manifest v2\n"
          "# source: server01:/dev/sda\n"
          "# date: 2026-04-24T02:00:00+00:00\n"
          "# block_size: 131072\n"
          "# total_blocks: 3\n"
          "# total_size: 262145\n"
          "# each line names a list of up to 4096 blocks, which diskdump info --digests prints\n"
          "# note: of a person\n"
          "OgUPHQj7hYHT1yrnJ2UemBBD3g1sqOdEModY9xZgK+s\n");
  }

  TEST_CASE("an image that did not change adds a line for each list, and no block") {
    test_folder const folder;
    auto const store = open_pack_store(folder.path());
    auto all = digests(0, 20 * full);
    (void)publish(folder.path(), *store, "a", all);
    auto const before = store->stats();
    auto const again = publish(folder.path(), *store, "a", all);
    CHECK(store->stats().blocks == before.blocks);
    CHECK(fs::file_size(folder / again) < 20 * limits::manifest_bytes_per_list + 400);
    // One that changed in one place adds one list.
    all[7 * full + 12] = digest_of(1'000'000);
    (void)publish(folder.path(), *store, "a", all);
    CHECK(store->stats().blocks == before.blocks + 1);
  }

  TEST_CASE("a plain manifest in a store of packs is read as ever") {
    test_folder const folder;
    make_store(folder.path(), store_format::pack);
    put_blocks(folder.path(), 0, 3);
    manifest_writer writer(folder.path(), "plain", header_of_image(3));
    for (std::uint64_t i = 0; i < 3; ++i) writer.add(make_block(i).id);
    (void)writer.publish(list_day);
    publish_image(folder.path(), "lists", {0, 1});
    check_store(folder.path());
    CHECK(collect(folder.path()).freed.blocks == 0);
    CHECK(verify(folder.path()).all_well());
    check_store(folder.path());
  }

  TEST_CASE("a writer that is taken back writes the text that one without it would have") {
    test_folder const folder;
    auto const store = open_pack_store(folder.path());
    auto const all = digests(0, 2 * full + 100);
    auto const straight = read_text(folder / publish(folder.path(), *store, "straight", all));
    for (std::uint64_t const told : {std::uint64_t{50}, full, full + 1, 2 * full, 2 * full + 100}) {
      for (std::uint64_t const kept : {std::uint64_t{0}, std::uint64_t{49}, full - 1, full,
                                       full + 1, 2 * full + 99, 2 * full + 100}) {
        if (kept > told) continue;
        CAPTURE(told);
        CAPTURE(kept);
        manifest_writer writer(folder.path(), "back", header_of_image(all.size()), *store);
        for (std::uint64_t i = 0; i < kept; ++i) writer.add(all[i]);
        for (auto i = kept; i < told; ++i) writer.add(digest_of(5'000'000 + i));
        writer.comment("note", "goes as well");
        writer.rewind({kept});
        for (auto i = kept; i < all.size(); ++i) writer.add(all[i]);
        store->barrier();
        CHECK(read_text(folder / writer.publish(list_day)) == straight);
      }
    }
  }

  TEST_CASE("an interrupted dump keeps what was told, wherever it ends") {
    for (std::uint64_t const told : {std::uint64_t{1}, full - 1, full, full + 1, 2 * full + 5}) {
      CAPTURE(told);
      test_folder const folder;
      auto const store = open_pack_store(folder.path());
      auto const all = digests(0, told);
      {
        manifest_writer writer(folder.path(), "x", header_of_image(3 * full), *store);
        for (auto const& id : all) writer.add(id);
        writer.comment(identity_key, "serial=1");
        writer.end_lists();
        store->barrier();
        writer.keep_interrupted();
      }
      auto reader = open_interrupted(folder.path(), "x", *store);
      REQUIRE(reader);
      std::vector<block_id> found;
      while (auto const id = reader->next()) found.push_back(*id);
      CHECK(found == all);
      CHECK(reader->header().extra.back().second == "serial=1");
      // gc keeps its lists for the time that it keeps what they name.
      CHECK(collect(folder.path()).freed.blocks == 0);
      CHECK(store->stats().blocks == (told + full - 1) / full);
    }
  }

  TEST_CASE(
      "a list that is missing is told with the manifest and its blocks, and the next is read") {
    test_folder const folder;
    auto const store = open_pack_store(folder.path());
    auto const all = digests(0, 2 * full + 3);
    auto const path = folder / publish(folder.path(), *store, "a", all);
    auto const lists = lists_in(path);
    store->remove(std::span(&lists[1].id, 1));
    manifest_reader reader(path, *store);
    for (std::uint64_t i = 0; i < full; ++i) CHECK(reader.next() == all[i]);
    auto const failure = thrown_by([&] { (void)reader.next(); });
    CHECK(failure.code() == store_errc::damaged_manifest);
    CHECK(failure.kind() == severity::corruption);
    CHECK(failure.path() == path);
    std::string const what = failure.what();
    CHECK(what.find("blocks 4096 to 8191") != std::string::npos);
    CHECK(what.find(lists[1].id.hex()) != std::string::npos);
    CHECK(what.find("lacks") != std::string::npos);
    REQUIRE(reader.next_list());
    CHECK(reader.read_list().size() == 3);
    CHECK_FALSE(reader.next_list());
    // The dump of an image that did not change there brings it back.
    (void)publish(folder.path(), *store, "b", all);
    CHECK(read_all(manifest_reader(path, *store)) == all);
  }

  TEST_CASE("a manifest that does not fit its lists is damaged") {
    test_folder const folder;
    auto const store = open_pack_store(folder.path());
    auto const path = folder / publish(folder.path(), *store, "a", digests(0, full + 3));
    auto const text = read_text(path);
    auto const refused = [&](std::string const& what, std::string_view why) {
      auto const other = folder / "other.manifest";
      write_text(other, what);
      auto const failure = thrown_by([&] { (void)read_all(manifest_reader(other, *store)); });
      CHECK(failure.code() == store_errc::damaged_manifest);
      CHECK_MESSAGE(std::string(failure.what()).find(why) != std::string::npos, failure.what());
    };
    auto const lists = lists_in(path);
    auto const replaced = [&](std::string const& from, std::string const& to) {
      auto copy = text;
      copy.replace(copy.find(from), from.size(), to);
      return copy;
    };
    refused(text.substr(0, text.size() - 44), "ends after 4096 of 4099");
    refused(text + list_name(lists[1].id) + "\n", "more than 4099");
    refused(text.substr(0, text.size() - 5), "not a list's name");
    refused(replaced(list_name(lists[0].id), digest_of(1).hex()), "not a list's name");
    refused(replaced(list_name(lists[0].id), list_name(lists[1].id)), "holds 3 digests");
    refused(replaced(list_name(lists[1].id), list_name(lists[0].id)), "holds 4096 digests");
    refused(replaced("manifest v2", "manifest v1"), "not a block digest");
    refused(replaced("manifest v2", "manifest v3"), "does not know");
    auto const image = make_block(1);
    (void)store->put(image.id, image.frame);
    refused(replaced(list_name(lists[0].id), list_name(image.id)), "holds 128 digests");
    // Its header is enough to be listed; the rest needs the store.
    CHECK(manifest_reader(path).header().source == "host:/dev/sda");
    CHECK_THROWS_AS((void)read_all(manifest_reader(path)), error);
  }

  TEST_CASE("gc takes no list of a manifest that is there, and those of one that is gone") {
    test_folder const folder;
    make_store(folder.path(), store_format::pack);
    auto const path = publish_large(folder.path(), "a");
    auto const again = publish_large(folder.path(), "a");
    auto const other = publish_image(folder.path(), "b", {1, 2});
    CHECK(open_test_store(folder.path())->stats().blocks == 8 + 3);
    auto report = collect(folder.path());
    CHECK(report.freed.blocks == 1);  // number 7, which no image has
    check_store(folder.path());
    for (auto const& list : lists_in(folder / path)) {
      CHECK(holds(*open_test_store(folder.path()), list.id));
    }
    fs::remove(folder / path);
    CHECK(collect(folder.path()).freed.blocks == 0);
    check_store(folder.path());
    fs::remove(folder / again);
    report = collect(folder.path(), {.dry_run = true});
    CHECK(report.condemned.blocks == 5 + 2);
    report = collect(folder.path());
    CHECK(report.freed.blocks == 5 + 2);  // 0, 3, 4, 5, 6 and two lists
    CHECK(open_test_store(folder.path())->stats().blocks == 3);
    check_store(folder.path());
    CHECK(fs::exists(folder / other));
  }

  TEST_CASE("gc takes nothing where a list cannot be read") {
    test_folder const folder;
    make_store(folder.path(), store_format::pack);
    auto const path = publish_large(folder.path(), "a");
    auto const lists = lists_in(folder / path);
    open_test_store(folder.path())->remove(std::span(&lists[0].id, 1));
    auto const before = open_test_store(folder.path())->stats().blocks;
    auto const failure = thrown_by([&] { (void)collect(folder.path()); });
    CHECK(failure.code() == store_errc::damaged_manifest);
    CHECK(open_test_store(folder.path())->stats().blocks == before);
    // Nor does a prune judge by it.
    work_monitor monitor;
    auto const plan = make_prune_plan(
        folder.path(), [](std::string const&) { return true; }, {.last = 1}, 1, monitor);
    CHECK(plan.lines.empty());
    REQUIRE(plan.damaged.size() == 1);
    CHECK(plan.damaged[0].path == path);
  }

  TEST_CASE("verify tells the manifests and ranges that a damaged list hits, and a dump heals it") {
    for (bool const missing : {false, true}) {
      for (bool const one_manifest : {false, true}) {
        CAPTURE(missing);
        CAPTURE(one_manifest);
        test_folder const folder;
        make_store(folder.path(), store_format::pack);
        auto const a = publish_large(folder.path(), "a");
        auto const b = publish_large(folder.path(), "b");
        auto const lists = lists_in(folder / a);
        CHECK(verify(folder.path()).all_well());
        if (missing) {
          open_test_store(folder.path())->remove(std::span(&lists[0].id, 1));
        } else {
          damage_block(folder.path(), lists[0].id, 100);
        }
        verify_options options;
        if (one_manifest) options.manifest = folder / a;
        auto const report = verify(folder.path(), options);
        CHECK_FALSE(report.all_well());
        REQUIRE(report.damages.size() == 1);
        CHECK(report.damages[0].id == lists[0].id);
        CHECK(report.manifests_damaged.empty());
        // A missing one is looked for in the one manifest only.
        REQUIRE(report.ranges.size() == (missing && one_manifest ? 1 : 2));
        CHECK(report.ranges[0].manifest == a);
        CHECK(report.ranges[0].offset_bytes == 0);
        CHECK(report.ranges[0].length_bytes == full * 4096);
        if (report.ranges.size() == 2) CHECK(report.ranges[1].manifest == b);
        (void)publish_large(folder.path(), "c");
        CHECK(verify(folder.path()).all_well());
        check_store(folder.path());
      }
    }
  }

  TEST_CASE("a sample finds a damaged list that another sample was to look at") {
    test_folder const folder;
    make_store(folder.path(), store_format::pack);
    auto const a = publish_large(folder.path(), "a");
    auto const lists = lists_in(folder / a);
    damage_block(folder.path(), lists[1].id, 70);
    verify_options options;
    options.sample_percent = 1;
    auto const report = verify(folder.path(), options);
    REQUIRE(report.ranges.size() == 1);
    CHECK(report.ranges[0].manifest == a);
    CHECK(report.ranges[0].offset_bytes == full * 4096);
    CHECK(report.ranges[0].length_bytes == 3 * 4096);
  }

  TEST_CASE("what people are told counts lists apart from the blocks of images") {
    test_folder const folder;
    make_store(folder.path(), store_format::pack);
    auto const a = publish_large(folder.path(), "a");
    work_monitor monitor;
    auto alone = measure_image(folder.path(), folder / a, 2, monitor);
    CHECK(alone.blocks_distinct == 7);
    CHECK(alone.blocks_unique == 7);
    CHECK(alone.lists.blocks == 2);
    CHECK(alone.lists_unique.blocks == 2);
    CHECK(alone.lists.stored_bytes > 0);
    (void)publish_large(folder.path(), "a");
    auto const both = measure_image(folder.path(), folder / a, 2, monitor);
    CHECK(both.blocks_unique == 0);
    CHECK(both.blocks_shared == 7);
    CHECK(both.lists.blocks == 2);
    CHECK(both.lists_unique.blocks == 0);
    CHECK(both.stored_bytes == alone.stored_bytes);
    auto const usage = measure_store(folder.path(), 2, monitor);
    CHECK(usage.blocks_named == 7);
    CHECK(usage.lists.blocks == 2);
    CHECK(usage.lists.stored_bytes == both.lists.stored_bytes);
    CHECK(usage.unnamed.blocks == 1);  // number 7
    CHECK(usage.blocks_missing == 0);
    CHECK(usage.content_bytes == 7 * 4096);
    CHECK(usage.stored_bytes_of_images() == both.stored_bytes);
  }

  TEST_CASE("at every write of a dump with lists the power is cut, and every manifest is whole") {
    for (auto const& [which, how] : every_power_cut()) {
      if (which != store_format::pack) continue;
      CAPTURE(static_cast<int>(how));
      auto const cuts = at_every_write([&](std::uint64_t at) {
        test_folder const folder;
        make_store(folder.path(), which);
        (void)publish_large(folder.path(), "before");
        bool const was_cut = cut_at_write(folder.path(), at, how, [&](file_system& files) {
          auto const store = open_test_store(folder.path(), {.files = &files});
          manifest_writer writer(folder.path(), "during", header_of_image(full + 1), *store,
                                 &files);
          for (std::uint64_t i = 0; i <= full; ++i) writer.add(make_block(i % 6).id);
          store->barrier();
          (void)writer.publish(list_day);
        });
        check_store(folder.path());
        return was_cut;
      });
      CHECK(cuts > 6);
    }
  }
}

}  // namespace diskdump
