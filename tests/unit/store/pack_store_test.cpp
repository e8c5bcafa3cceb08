#include <sys/wait.h>
#include <unistd.h>

#include <latch>
#include <thread>

#include "faulty_file_system.hpp"
#include "pack_support.hpp"
#include "store/lease.hpp"
#include "store/pack_format.hpp"
#include "store/pack_scan.hpp"
#include "store_conformance.hpp"
#include "upkeep_support.hpp"

namespace diskdump {

namespace {

namespace fs = std::filesystem;

// What lies in all packs, whatever the index says.
std::vector<stored_block> entries_of(std::string const& base) {
  auto const files = make_posix_file_system(base + "/.blockstore");
  std::vector<stored_block> found;
  for (auto const& pack : packs_of(base)) {
    scan_pack(*files, store_layout(""), pack.number,
              [&](stored_block const& entry) { found.push_back(entry); });
  }
  return found;
}

}  // namespace

TEST_SUITE("pack_store") {
  TEST_CASE("the pack store does what every store does") {
    test_folder const folder(std::filesystem::temp_directory_path());
    check_store_conformance([&] { return open_pack_store(folder.path()); });
  }

  TEST_CASE("without durability it does the same") {
    test_folder const folder;
    check_store_conformance([&] {
      store_open_options options;
      options.level = durability::none;
      return open_pack_store(folder.path(), options);
    });
  }

  TEST_CASE("config.json names the format and a version that 0.1.x does not take for its own") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    CHECK(read_text(folder / ".blockstore/config.json") ==
          "{\n  \"block_size\": 4096,\n  \"format\": \"pack\",\n  \"hash_algo\": \"sha256\",\n"
          "  \"version\": 2\n}");
    CHECK_FALSE(fs::exists(folder / ".blockstore/blocks.db"));
    auto const again = open_test_store(folder.path());  // what is there rules
    CHECK(again->properties().format == "pack");
  }

  TEST_CASE("a format that does not go with the version is refused") {
    test_folder const folder;
    for (auto const* const text :
         {R"({"block_size": 4096, "format": "pack", "hash_algo": "sha256", "version": 1})",
          R"({"block_size": 4096, "format": "heap", "hash_algo": "sha256", "version": 2})",
          R"({"block_size": 4096, "format": 7, "hash_algo": "sha256", "version": 2})"}) {
      write_text(folder / ".blockstore/config.json", text);
      CHECK(thrown_by([&] { (void)open_store(folder.path(), {}); }).code() ==
            store_errc::unsupported_store);
    }
  }

  TEST_CASE("many blocks are few files, and reopening finds them") {
    test_folder const folder;
    constexpr std::uint64_t count = 500;
    {
      auto const store = open_pack_store(folder.path());
      for (std::uint64_t i = 0; i < count; ++i) {
        CHECK(store->put(make_block(i).id, make_block(i).frame));
      }
      store->barrier();
    }
    CHECK(packs_of(folder.path()).size() == 1);
    CHECK(fs::is_empty(folder / ".blockstore/tmp"));
    auto const again = open_store(folder.path(), {});
    CHECK(again->stats().blocks == count);
    for (std::uint64_t i = 0; i < count; ++i) {
      CHECK(again->get(make_block(i).id) == make_block(i).frame);
    }
  }

  TEST_CASE("a pack that is full is followed by the next one") {
    test_folder const folder;
    constexpr std::size_t block_bytes = 4 * limits::MiB;
    std::vector<test_block> blocks;
    {
      auto const store = open_pack_store(folder.path());
      for (std::uint64_t i = 0; i < 40; ++i) {  // half of each compresses
        blocks.push_back(make_block(i, block_bytes));
        CHECK(store->put(blocks.back().id, blocks.back().frame));
      }
      CHECK(store->get(blocks.back().id) == blocks.back().frame);
      store->barrier();
      for (auto const& block : blocks) CHECK(store->get(block.id) == block.frame);
    }
    auto const packs = packs_of(folder.path());
    REQUIRE(packs.size() == 2);
    CHECK(packs[0].size_bytes >= limits::pack_bytes);
    CHECK(packs[0].size_bytes < limits::pack_bytes + block_bytes);
    CHECK(entries_of(folder.path()).size() == blocks.size());
  }

  // One thread ends the first pack and syncs it. A barrier has written out the second one and waits
  // for the first. Another thread begins to add to the second one, and ends when that is synced.
  TEST_CASE("a pack has its header before it has its name") {
    test_folder const folder;
    faulty_file_system files(folder.path());
    auto const store = open_store(
        folder.path(),
        {.create_block_bytes = 4096, .create_format = store_format::pack, .files = &files});
    unsigned appends = 0;
    files.before = [&](faulty_file_system::call what, std::string const& path) {
      if (what != faulty_file_system::call::append || !path.ends_with(".pack")) return;
      ++appends;
      // Without one, a gc would take it for what a dead writer left.
      CHECK(fs::file_size(folder / path) >= limits::pack_header_bytes);
    };
    CHECK(store->put(make_block(1).id, make_block(1).frame));
    store->barrier();
    files.before = nullptr;
    CHECK(appends == 1);
  }

  TEST_CASE("what is added to a pack while it is synced is synced by the next barrier") {
    test_folder const folder;
    faulty_file_system files(folder.path());
    auto const store = open_store(
        folder.path(),
        {.create_block_bytes = 4096, .create_format = store_format::pack, .files = &files});
    std::latch first_may_sync(1), second_may_write(1), writes_second(1);
    std::atomic<bool> syncs_first{false}, hold_writes{false};
    std::atomic<unsigned> syncs_of_second{0};
    using call = faulty_file_system::call;
    files.before = [&](call what, std::string const& path) {
      if (what == call::sync && path.ends_with("000001.pack")) {
        syncs_first = true;
        first_may_sync.wait();
      }
      if (what == call::sync && path.ends_with("000002.pack")) ++syncs_of_second;
      // The barrier has synced its packs, and goes on with their folder.
      if (what == call::sync && path.ends_with("packs")) second_may_write.count_down();
      if (what == call::append && hold_writes.exchange(false)) {
        writes_second.count_down();
        second_may_write.wait();
      }
    };
    std::thread ends_first([&] {
      constexpr std::size_t block_bytes = 8 * limits::MiB;  // half of each compresses
      for (std::uint64_t i = 0; !syncs_first; ++i) {
        auto const block = make_block(i, block_bytes);
        (void)store->put(block.id, block.frame);
      }
    });
    while (!syncs_first) std::this_thread::yield();
    std::atomic<pid_t> thread_of_barrier{0};
    std::thread makes_durable([&] {
      thread_of_barrier = ::gettid();
      store->barrier();
    });
    while (thread_of_barrier == 0 || !is_asleep(thread_of_barrier)) std::this_thread::yield();
    std::thread adds([&] {
      auto const block = make_block(1000);
      (void)store->put(block.id, block.frame);
      hold_writes = true;
      CHECK(store->get(block.id) == block.frame);  // writes it out
    });
    writes_second.wait();
    first_may_sync.count_down();
    for (auto* const thread : {&ends_first, &makes_durable, &adds}) thread->join();
    CHECK(syncs_of_second == 1);
    store->barrier();
    CHECK(syncs_of_second == 2);
  }

  TEST_CASE("what is written within a sync of its pack is synced by the next barrier") {
    test_folder const folder;
    faulty_file_system files(folder.path());
    auto const store = open_store(
        folder.path(),
        {.create_block_bytes = 4096, .create_format = store_format::pack, .files = &files});
    unsigned syncs = 0;
    files.before = [&](faulty_file_system::call what, std::string const& path) {
      if (what != faulty_file_system::call::sync || !path.ends_with(".pack")) return;
      if (++syncs > 1) return;
      (void)store->put(make_block(2).id, make_block(2).frame);
      CHECK(store->get(make_block(2).id) == make_block(2).frame);  // writes it out
    };
    (void)store->put(make_block(1).id, make_block(1).frame);
    store->barrier();
    CHECK(syncs == 1);
    store->barrier();
    CHECK(syncs == 2);
    files.before = nullptr;
  }

  TEST_CASE("a number that another writer took meanwhile is left to it") {
    test_folder const folder;
    faulty_file_system files(folder.path());
    auto const store = open_store(
        folder.path(),
        {.create_block_bytes = 4096, .create_format = store_format::pack, .files = &files});
    bool met = false;
    files.before = [&](faulty_file_system::call what, std::string const& path) {
      if (what != faulty_file_system::call::rename || !path.ends_with(".pack") || met) return;
      met = true;
      auto const other = open_pack_store(folder.path());
      (void)other->put(make_block(1).id, make_block(1).frame);
      other->barrier();
    };
    (void)store->put(make_block(2).id, make_block(2).frame);
    store->barrier();
    files.before = nullptr;
    CHECK(met);
    CHECK(packs_of(folder.path()).size() == 2);
    check_store(folder.path());
  }

  TEST_CASE("a block larger than the buffer is stored as well") {
    test_folder const folder;
    auto const store = open_pack_store(folder.path());
    byte_vector raw(limits::block_bytes_max);
    std::uint64_t state = 7;
    for (auto& byte : raw) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      byte = static_cast<std::byte>(state >> 56);
    }
    auto const frame = lz4_of(raw);
    REQUIRE(frame.size() > limits::pack_write_bytes);
    CHECK(store->put(make_block(1).id, make_block(1).frame));
    CHECK(store->put(sha256(raw), frame));
    CHECK(store->put(make_block(2).id, make_block(2).frame));
    store->barrier();
    CHECK(store->get(sha256(raw)) == frame);
    CHECK(store->get(make_block(2).id) == make_block(2).frame);
  }

  TEST_CASE("several writers at once have packs of their own, and each block has one row") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    // A writer that is done leaves its pack to whoever comes later: first all hold one.
    std::latch all_hold_a_pack(4);
    std::vector<std::jthread> writers;
    for (std::uint64_t w = 0; w < 4; ++w) {
      writers.emplace_back([&, w] {
        auto const store = open_pack_store(folder.path());
        for (std::uint64_t i = 0; i < 100; ++i) {
          auto const block = make_block(i + w * 50);
          (void)store->put(block.id, block.frame);
          if (i == 0) all_hold_a_pack.arrive_and_wait();
          if (i % 30 == 0) store->barrier();
        }
        store->barrier();
      });
    }
    writers.clear();
    CHECK(packs_of(folder.path()).size() == 4);
    auto const store = open_pack_store(folder.path());
    CHECK(store->stats().blocks == 250);
    check_store(folder.path());
  }

  TEST_CASE("what a process that died had written is there, what it had not is not") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    auto const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      auto const store = open_pack_store(folder.path());
      (void)store->put(make_block(1).id, make_block(1).frame);
      store->barrier();
      (void)store->put(make_block(2).id, make_block(2).frame);
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    auto const store = open_pack_store(folder.path());
    CHECK(holds(*store, make_block(1).id));
    CHECK_FALSE(holds(*store, make_block(2).id));
    CHECK(store->put(make_block(2).id, make_block(2).frame));
    store->barrier();
    check_store(folder.path());
  }

  TEST_CASE("a store that is read only reads, and without an index says what to do") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 3);
    store_open_options options;
    options.read_only = true;
    {
      auto const store = open_store(folder.path(), options);
      CHECK(store->get(make_block(1).id) == make_block(1).frame);
      CHECK(thrown_by([&] { (void)store->put(make_block(9).id, make_block(9).frame); }).code() ==
            store_errc::cannot_write);
    }
    fs::remove(folder / ".blockstore/packs.db");
    auto const failure = thrown_by([&] { (void)open_store(folder.path(), options); });
    CHECK(failure.code() == store_errc::damaged_index);
    CHECK(failure.remedy().find("diskdump reindex") != std::string::npos);
    CHECK_FALSE(fs::exists(folder / ".blockstore/packs.db"));
  }

  TEST_CASE("a store whose maker was killed before its index was there is an empty one") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    auto const remove_index = [&] {
      for (auto const* const name : {"packs.db", "packs.db-wal", "packs.db-shm"}) {
        fs::remove(folder / (std::string(".blockstore/") + name));
      }
    };
    remove_index();
    store_open_options options;
    options.read_only = true;
    {
      auto const store = open_store(folder.path(), options);
      CHECK(store->missing(std::vector{make_block(1).id}) == std::vector{true});
      CHECK(store->stats().blocks == 0);
    }
    auto const opened = open_leased_store(folder.path(), {}, "running");
    (void)opened.store->put(make_block(1).id, make_block(1).frame);
    opened.store->barrier();
    CHECK(holds(*opened.store, make_block(1).id));
  }

  TEST_CASE("a dump into a store whose index is gone makes it again") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 3);
    fs::remove(folder / ".blockstore/packs.db");
    auto const opened = open_leased_store(folder.path(), {}, "running");
    for (std::uint64_t i : {0, 1, 2}) CHECK(holds(*opened.store, make_block(i).id));
  }

  TEST_CASE("an index that is gone is made again from what is whole in the packs") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 6);
    damage_block(folder.path(), make_block(2).id, 70);  // its data
    damage_block(folder.path(), make_block(4).id, 20);  // its header
    for (auto const* const name : {"packs.db", "packs.db-wal", "packs.db-shm"}) {
      fs::remove(folder / (std::string(".blockstore/") + name));
    }
    auto const store = open_pack_store(folder.path());
    CHECK(store->stats().blocks == 4);
    for (std::uint64_t i : {0, 1, 3, 5}) CHECK(holds(*store, make_block(i).id));
    check_store(folder.path());
  }

  TEST_CASE("blocks that lie side by side are read at once, and a pack is opened once") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 200);
    faulty_file_system files(folder.path());
    auto const store = open_store(folder.path(), {.files = &files});
    std::size_t calls = 0;
    files.before = [&](faulty_file_system::call what, std::string const& path) {
      if (what == faulty_file_system::call::read && path.ends_with(".pack")) ++calls;
    };
    std::vector<block_id> ids;
    for (std::uint64_t i = 100; i-- > 0;) ids.push_back(make_block(i).id);
    frame_batch frames;
    store->fetch(ids, frames);
    CHECK(calls == 2);  // one opens it
    store->fetch(ids, frames);
    CHECK(calls == 3);
    // The second and third of these have more between them than is read for nothing.
    ids = {make_block(0).id, make_block(1).id, make_block(100).id};
    store->fetch(ids, frames);
    CHECK(calls == 5);
    CHECK(frames[2]->size() == make_block(100).frame.size());
  }

  TEST_CASE("a pack that is kept open is no obstacle where another one has its number by now") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 2);
    auto const store = open_store(folder.path(), {.read_only = true});
    CHECK(store->get(make_block(1).id) == make_block(1).frame);
    // As gc takes them away, pack and all; the next one gets its number.
    std::vector<block_id> const gone{make_block(0).id, make_block(1).id};
    open_store(folder.path(), {})->remove(gone);
    fs::remove(folder / ".blockstore/packs/000001.pack");
    put_blocks(folder.path(), 10, 2);
    REQUIRE(packs_of(folder.path()).size() == 1);
    REQUIRE(packs_of(folder.path())[0].number == 1);
    CHECK(store->get(make_block(11).id) == make_block(11).frame);
    CHECK(store->get(make_block(10).id) == make_block(10).frame);
    CHECK_FALSE(store->get(make_block(1).id).has_value());
  }

  TEST_CASE("a block that is not what the index says is told with its place") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 2);
    damage_block(folder.path(), make_block(1).id, 20);
    auto const store = open_store(folder.path(), {});
    auto const failure = thrown_by([&] { (void)store->get(make_block(1).id); });
    CHECK(failure.code() == store_errc::damaged_block);
    CHECK(failure.path().find(".blockstore/packs/000001.pack at ") != std::string::npos);
  }

  TEST_CASE("a block is not taken from where another one of its length stands") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 1);
    put_blocks(folder.path(), 1, 1);
    REQUIRE(make_block(0).frame.size() == make_block(1).frame.size());
    auto const path = folder / ".blockstore/packs.db";
    sqlite_connection const db(path, SQLITE_OPEN_READWRITE, path, std::chrono::seconds(1));
    db.execute("UPDATE blocks SET pack = 1, offset = 64");
    auto const store = open_store(folder.path(), {});
    CHECK(store->get(make_block(0).id) == make_block(0).frame);
    CHECK(thrown_by([&] { (void)store->get(make_block(1).id); }).code() ==
          store_errc::damaged_block);
  }
}

TEST_SUITE("pack_format") {
  TEST_CASE("headers come back as they were, and a changed bit anywhere is found") {
    auto const header = encode_pack_header({"4711-0-0123456789abcdef"});
    REQUIRE(header.size() == limits::pack_header_bytes);
    CHECK(decode_pack_header(header)->owner == "4711-0-0123456789abcdef");
    auto const block = make_block(1);
    byte_vector bytes;
    append_pack_entry(bytes, block.id, block_codec::lz4, block.frame);
    auto const entry = decode_pack_entry(bytes);
    REQUIRE(entry.has_value());
    CHECK(entry->id == block.id);
    CHECK(entry->stored_bytes == block.frame.size());
    for (std::size_t bit = 0; bit < limits::pack_header_bytes * 8; ++bit) {
      auto const flip = [bit](byte_vector from) {
        from[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
        return from;
      };
      CHECK_FALSE(decode_pack_header(flip(header)).has_value());
      CHECK_FALSE(decode_pack_entry(flip(bytes)).has_value());
    }
    CHECK_FALSE(decode_pack_entry(byte_view(bytes).first(63)).has_value());
    CHECK_FALSE(decode_pack_header(byte_view(header).first(63)).has_value());
  }

  TEST_CASE("an owner that could lead out of the folder is none") {
    CHECK_FALSE(decode_pack_header(encode_pack_header({"../../etc/x"})).has_value());
  }

  TEST_CASE("names of packs, and what is none") {
    CHECK(pack_name(17) == "000017.pack");
    CHECK(pack_of_name("000017.pack") == 17);
    CHECK(pack_of_name("1000017.pack") == 1000017);
    for (auto const* const name : {"17.pack", "000017.pac", ".pack", "-00017.pack", "00001x.pack",
                                   "99999999999.pack", "000017.pack.lz4"}) {
      CHECK_FALSE(pack_of_name(name).has_value());
    }
  }

  TEST_CASE("a scan finds what stands behind damage, wherever it is") {
    test_folder const folder;
    (void)open_pack_store(folder.path());
    put_blocks(folder.path(), 0, 30);
    auto const whole = entries_of(folder.path());
    REQUIRE(whole.size() == 30);
    auto const path = pack_file_path(folder.path(), 1);
    auto const text = read_text(path);
    for (std::size_t at = 0; at < text.size(); at += 97) {
      auto damaged = text;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
      write_text(path, damaged);
      auto const found = entries_of(folder.path());
      // The pack's own header is not needed.
      CHECK(found.size() == (at < limits::pack_header_bytes ? 30 : 29));
    }
    // Cut off anywhere, what is whole is found.
    for (std::size_t size = 0; size < text.size(); size += 1013) {
      write_text(path, text.substr(0, size));
      auto const found = entries_of(folder.path());
      std::size_t expected = 0;
      for (auto const& entry : whole) {
        expected += entry.place.offset + 64 + entry.stored_bytes <= size ? 1 : 0;
      }
      CHECK(found.size() == expected);
    }
  }
}

}  // namespace diskdump
