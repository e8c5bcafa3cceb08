// Whole dumps of one and more targets over memory streams: the real stages, sessions, store files
// and manifests; only the wire and the agent's disk are in memory.
#include "async/spawned.hpp"
#include "image_fleet.hpp"

namespace diskdump {

namespace {

// Says HELLO, and nonsense once START has begun to arrive; `heard` is all that came.
task<> say_nonsense(std::unique_ptr<memory_stream> io, session_nonce nonce, byte_vector& heard) {
  byte_vector hello;
  encode(hello, hello_message{.nonce = nonce});
  co_await io->write(hello);
  byte_vector buffer(1);
  auto n = co_await io->read(byte_span(buffer));
  byte_vector const nonsense(5, std::byte{0xff});
  co_await io->write(nonsense);
  io->stall();
  for (; n > 0; n = co_await io->read(byte_span(buffer))) append_bytes(heard, buffer);
}

// Hears START, announces one block, and says END once `goes_on` is woken, without having read
// another byte.
task<> end_unheard(std::unique_ptr<memory_stream> io, target_plan plan, byte_view content,
                   wait_list& goes_on, wait_list& leaves) {
  byte_vector start_frame;
  encode(start_frame, plan.start);
  byte_vector out;
  encode(out, hello_message{.nonce = plan.nonce});
  co_await io->write(out);
  byte_vector buffer(1);
  for (std::size_t i = 0; i < start_frame.size(); ++i) (void)co_await io->read(byte_span(buffer));
  out.clear();
  auto const id = sha256(content);
  encode(out, source_message{.image_bytes = content.size()});
  encode(out, digests_message{{}, {{run_kind::data, id, {1}}}});
  co_await io->write(out);
  co_await goes_on.wait();
  out.clear();
  encode(out, end_message{.blocks = {1},
                          .data_blocks = {1},
                          .read_bytes = content.size(),
                          .ids_digest = sha256(byte_view(id.bytes))});
  co_await io->write(out);
  co_await leaves.wait();
}

}  // namespace

TEST_SUITE("dump") {
  TEST_CASE("an image of any length comes back byte for byte") {
    for (std::size_t const bytes : {0, 1, 4095, 4096, 4097, 80 * 4096, 81 * 4096 + 17, 1000000}) {
      CAPTURE(bytes);
      fleet_of_images fleet;
      auto const image = random_image(bytes, 7);
      auto& t = fleet.dump(image);
      fleet.run();
      REQUIRE_FALSE(t.failure);
      CHECK(fleet.restored(t.manifest) == image);
      CHECK(t.progress.blocks_stored.value == t.progress.blocks.value);
    }
  }

  TEST_CASE("a manifest appears after the barrier, which gives its blocks their rows") {
    for (auto const format : {store_format::loose, store_format::pack}) {
      fleet_of_images fleet(format);
      auto& t = fleet.dump(random_image(10 * 4096, 5));
      fleet.run();
      REQUIRE_FALSE(t.failure);
      // As another process sees it. In packs the list of the ten is a block, too.
      auto const other = open_store(fleet.folder.path, {.read_only = true});
      CHECK(other->stats().blocks == (format == store_format::loose ? 10U : 11U));
    }
  }

  TEST_CASE("zero blocks are never sent and come back") {
    fleet_of_images fleet;
    byte_vector image(100 * 4096 + 5);
    image[50 * 4096] = std::byte{1};
    auto& t = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_sent == 1);
    CHECK(t.progress.blocks_zero.value == 100);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("a block repeated inside the window is sent once") {
    fleet_of_images fleet;
    auto const one = random_image(4096, 3);
    byte_vector image;
    for (int i = 0; i < 40; ++i) append_bytes(image, one);
    auto& t = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(t.failure);
    CHECK(t.agent->blocks_sent == 1);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("identical targets together send every block once") {
    fleet_of_images fleet;
    auto const image = random_image(300 * 4096, 5);
    for (int i = 0; i < 4; ++i) fleet.dump(image);
    fleet.run();
    std::size_t sent = 0, waits = 0;
    for (auto const& t : fleet.targets) {
      REQUIRE_FALSE(t->failure);
      CHECK(fleet.restored(t->manifest) == image);
      sent += t->agent->blocks_sent;
      waits += t->agent->waits;
    }
    CHECK(sent == 300);
    CHECK(waits > 0);
  }

  TEST_CASE("the smallest batch and a narrow wire make it slow, not stuck") {
    fleet_of_images fleet;
    fleet.wire_capacity_bytes = 512;
    fleet.batch_blocks = 8;
    auto const image = random_image(50 * 4096, 9);
    auto& a = fleet.dump(image);
    auto& b = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(a.failure);
    REQUIRE_FALSE(b.failure);
    CHECK(a.agent->blocks_sent + b.agent->blocks_sent == 50);
  }

  TEST_CASE("a block has memory for what the store is given, whatever it crossed the wire as") {
    // Six bits of chance in each byte: zlib takes a quarter off it, and LZ4 nothing.
    auto const image = random_image(200 * 4096 + 17, 9);
    for (auto const codec : {block_codec::lz4, block_codec::zlib}) {
      // In the smallest budget one block has to fit.
      for (auto const batch_blocks : {8U, 80U}) {
        CAPTURE(batch_blocks);
        fleet_of_images fleet;
        fleet.batch_blocks = batch_blocks;
        auto& t = fleet.dump(image);
        t.agent->codec = codec;
        fleet.run();
        REQUIRE_FALSE(t.failure);
        CHECK(fleet.restored(t.manifest) == image);
      }
    }
  }

  TEST_CASE("a block with other content than announced ends the target and is not stored") {
    fleet_of_images fleet;
    auto& liar = fleet.dump(random_image(10 * 4096, 1), lie::wrong_content);
    fleet.run();
    REQUIRE(liar.failure);
    CHECK(code_of(liar.failure) == wire_errc::digest_mismatch);
    CHECK(liar.agent->abort_heard == "breach of the protocol: " + code_of(liar.failure).message());
    CHECK(fleet.store->stats().blocks == 0);
    CHECK(liar.manifest.empty());
  }

  TEST_CASE("an agent that got a part of a frame is not told the end within it") {
    fleet_of_images fleet(store_format::loose, jobs_run::on_loop);
    auto& t = fleet.dump({});
    byte_vector start_frame;
    encode(start_frame, t.plan.start);
    auto ends = make_memory_stream_pair(fleet.loop.get_executor(), start_frame.size() / 2);
    auto* const agent_end = ends.second.get();
    byte_vector heard;
    auto const agent = start(fleet.loop, say_nonsense(std::move(ends.second), t.plan.nonce, heard));
    auto const dump =
        start(fleet.loop, fleet_of_images::one(fleet.context, t, std::move(ends.first)));
    agent_end->resume();
    settle(fleet.loop);
    REQUIRE(dump->ended);
    CHECK(code_of(t.failure) == wire_errc::unknown_kind);
    REQUIRE(agent->ended);
    CHECK_FALSE(agent->failure);
    REQUIRE(heard.size() < start_frame.size());
    CHECK(std::equal(heard.begin(), heard.end(), start_frame.begin()));
  }

  TEST_CASE("an agent that has said END and reads nothing more is not waited for") {
    fleet_of_images fleet(store_format::loose, jobs_run::on_loop);
    auto const image = random_image(block_bytes, 1);
    auto& first = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(first.failure);

    auto& t = fleet.dump({});
    // What we answer does not fit.
    auto ends = make_memory_stream_pair(fleet.loop.get_executor(), 4);
    wait_list goes_on(fleet.loop.get_executor()), leaves(fleet.loop.get_executor());
    auto const agent =
        start(fleet.loop, end_unheard(std::move(ends.second), t.plan, image, goes_on, leaves));
    auto const dump =
        start(fleet.loop, fleet_of_images::one(fleet.context, t, std::move(ends.first)));
    settle(fleet.loop);
    goes_on.wake_all();
    settle(fleet.loop);
    REQUIRE_FALSE(dump->ended);
    while (!dump->ended && fleet.timers.advance_to_next()) settle(fleet.loop);
    CHECK(dump->ended);
    leaves.wake_all();
    settle(fleet.loop);
    REQUIRE(dump->ended);
    CHECK_FALSE(t.failure);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("a claimant that lies or dies hands its blocks on to those who wait for them") {
    for (auto const how : {lie::wrong_content, lie::dies_half_way}) {
      fleet_of_images fleet;
      auto const image = random_image(60 * 4096, 2);
      // Ten blocks that nobody else has, so that it certainly sends some.
      auto bad_image = random_image(10 * 4096, 77);
      append_bytes(bad_image, image);
      auto& bad = fleet.dump(bad_image, how);
      auto& good = fleet.dump(image);
      auto& other = fleet.dump(image);
      fleet.run();
      CHECK(bad.failure);
      REQUIRE_FALSE(good.failure);
      REQUIRE_FALSE(other.failure);
      CHECK(fleet.restored(good.manifest) == image);
      CHECK(fleet.restored(other.manifest) == image);
    }
  }

  TEST_CASE("an agent that goes away before END publishes nothing") {
    fleet_of_images fleet;
    auto& t = fleet.dump(random_image(60 * 4096, 2), lie::dies_half_way);
    fleet.run();
    REQUIRE(t.failure);
    CHECK(code_of(t.failure) == wire_errc::early_end);
    CHECK(t.manifest.empty());
    CHECK_FALSE(std::filesystem::exists(fleet.folder.path + "/2026"));
  }

  TEST_CASE("a dump that has published has succeeded, whatever an earlier one left there") {
    fleet_of_images fleet;
    // What stands where an interrupted dump would, and cannot be removed as one.
    auto const left = fleet.folder.path + "/.blockstore/interrupted/disk.part";
    std::filesystem::create_directories(left + "/inside");
    auto const image = random_image(3 * 4096, 4);
    auto& t = fleet.dump(image);
    fleet.run();
    REQUIRE_FALSE(t.failure);
    CHECK(fleet.restored(t.manifest) == image);
  }

  TEST_CASE("endless notes end the target") {
    fleet_of_images fleet;
    auto& t = fleet.dump(random_image(4096, 2), lie::endless_notes);
    fleet.run();
    REQUIRE(t.failure);
    CHECK(code_of(t.failure) == wire_errc::too_much_talk);
    CHECK(t.agent->abort_heard == "breach of the protocol: " + code_of(t.failure).message());
  }
}

}  // namespace diskdump
