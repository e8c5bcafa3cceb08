// Blocks that the server expects: what either end keeps, tells and refuses, and whole dumps in
// which some of what was expected is so.
#include "wire/expectations.hpp"

#include "wire_test_support.hpp"

namespace diskdump {

namespace {

constexpr auto ahead = limits::expected_ahead_blocks;

std::vector<block_id> ids_of(std::uint64_t first, std::uint64_t count) {
  std::vector<block_id> ids;
  for (std::uint64_t i = 0; i < count; ++i) ids.push_back(sample_id(first + i));
  return ids;
}

byte_vector expect(std::uint64_t first, std::vector<block_id> ids) {
  return encoded(expect_message{{first}, std::move(ids)});
}

digest_run expected_run(std::uint64_t blocks) { return {run_kind::expected, {}, {blocks}}; }
digest_run expected_run(block_id const& id) { return {run_kind::expected, id, {1}}; }

// A server that expects blocks 2 to 5 but for 4, of an image of 40.
server_session expecting_server() {
  auto server = server_with_source(40 * block_bytes);
  auto ids = ids_of(2, 4);
  ids[2] = no_block;
  server.expect({2}, ids);
  (void)server.take_output();
  feed_all(server, encoded(digests_message{{0}, {zero_run(2)}}));
  return server;
}

std::error_code said_to_expecting_server(digests_message const& m) {
  auto server = expecting_server();
  return fed(server, encoded(m));
}

}  // namespace

TEST_SUITE("expectations") {
  TEST_CASE("each block is told once, in order, and not more than there is room for") {
    expectations all({10});
    auto const some = ids_of(0, ahead + 1);
    CHECK(all.may_add({10}, std::span(some).first(ahead)));
    CHECK_FALSE(all.may_add({10}, some));
    CHECK_FALSE(all.may_add({9}, std::span(some).first(1)));
    // Blocks of which nothing is known take no room, and holes between them none either.
    auto sparse = some;
    sparse[7] = no_block;
    CHECK(all.may_add({10}, sparse));
    CHECK(all.may_add({std::uint64_t{1} << 60}, std::span(some).first(ahead)));
    CHECK_FALSE(all.may_add({~std::uint64_t{0}}, std::span(some).first(1)));
    all.add({12}, ids_of(12, 2));
    CHECK(all.told_until().value == 14);
    CHECK(all.room() == ahead - 2);
    CHECK_FALSE(all.may_add({13}, std::span(some).first(1)));
    CHECK_FALSE(all.may_add({14}, std::span(some).first(ahead - 1)));
    CHECK(all.may_add({14}, std::span(some).first(ahead - 2)));
    all.announced({13});
    CHECK(all.may_add({14}, std::span(some).first(ahead - 1)));
  }

  TEST_CASE("what lies between and behind is not expected") {
    expectations all;
    all.add({3}, ids_of(3, 2));
    all.add({8}, ids_of(8, 1));
    for (std::uint64_t i = 0; i < 12; ++i) {
      CAPTURE(i);
      bool const told = i == 3 || i == 4 || i == 8;
      CHECK(all.at({i}) == (told ? sample_id(i) : no_block));
    }
    CHECK(all.at({~std::uint64_t{0}}) == no_block);
    all.announced({4});
    CHECK(all.at({3}) == no_block);
    CHECK(all.at({4}) == sample_id(4));
    CHECK(all.at({8}) == sample_id(8));
    all.announced({1000});
    CHECK(all.at({8}) == no_block);
    all.add({1000}, ids_of(1000, 1));
    CHECK(all.at({1000}) == sample_id(1000));
  }

  TEST_CASE("what is told too late is not kept") {
    expectations all;
    all.announced({5});
    all.add({2}, ids_of(2, 2));
    CHECK(all.at({2}) == no_block);
    all.add({4}, ids_of(4, 3));
    CHECK(all.at({4}) == no_block);
    CHECK(all.at({5}) == sample_id(5));
    CHECK(all.at({6}) == sample_id(6));
    CHECK(all.room() == ahead - 2);
  }

  // ---- The server -------------------------------------------------------------------------------

  TEST_CASE("blocks that are as expected come with their ids, and take no slot and no answer") {
    auto server = expecting_server();
    auto const m = feed_one<digests_message>(
        server,
        encoded(digests_message{{2}, {expected_run(2), data_run(sample_id(99)), expected_run(1)}}));
    REQUIRE(m.runs.size() == 4);
    CHECK(m.first.value == 2);
    CHECK(m.runs[0].kind == run_kind::expected);
    CHECK(m.runs[0].id == sample_id(2));
    CHECK(m.runs[1].id == sample_id(3));
    CHECK(m.runs[2].kind == run_kind::data);
    CHECK(m.runs[2].id == sample_id(99));
    CHECK(m.runs[3].id == sample_id(5));
    for (auto const& run : m.runs) CHECK(run.blocks.value == 1);
    CHECK(server.unsettled() == 1);
    CHECK(server.unanswered() == 1);
    CHECK(server.announced().data_blocks().value == 4);
    CHECK(server.expected_from().value == 6);
  }

  TEST_CASE("a block that was expected may come as any other") {
    auto server = expecting_server();
    CHECK_FALSE(fed(
        server, encoded(digests_message{{2},
                                        {data_run(sample_id(2)), zero_run(1),
                                         data_run(sample_id(7)), zero_run(1, run_kind::hole)}})));
    CHECK(server.unanswered() == 2);
  }

  TEST_CASE("a block that is as expected where nothing was is refused") {
    auto const not_asked_for = make_error_code(wire_errc::not_asked_for);
    CHECK(said_to_expecting_server({{2}, {expected_run(3)}}) == not_asked_for);
    CHECK(said_to_expecting_server({{2}, {expected_run(2), expected_run(1)}}) == not_asked_for);
    CHECK(said_to_expecting_server({{2}, {zero_run(4), expected_run(1)}}) == not_asked_for);
    auto none = server_with_source(40 * block_bytes);
    CHECK(fed(none, encoded(digests_message{{0}, {expected_run(1)}})) == not_asked_for);
    // Once announced it is not expected any more.
    auto server = expecting_server();
    CHECK_FALSE(fed(server, encoded(digests_message{{2}, {expected_run(2)}})));
    CHECK(fed(server, encoded(digests_message{{2}, {expected_run(2)}})) ==
          wire_errc::index_out_of_range);
  }

  TEST_CASE("more expected blocks than the image or a message has are refused") {
    auto server = server_with_source(3 * block_bytes);
    server.expect({0}, ids_of(0, 6));
    CHECK(fed(server, encoded(digests_message{{0}, {expected_run(4)}})) ==
          wire_errc::index_out_of_range);
    for (auto const blocks : {limits::digest_runs_max + 1, std::size_t{1} << 31}) {
      byte_vector payload;
      append_le(payload, std::uint64_t{0});
      append_le(payload, std::uint16_t{1});
      append_le(payload, std::uint8_t{3});
      append_le(payload, static_cast<std::uint32_t>(blocks));
      CHECK(code_of([&] { (void)decode_digests(payload); }) == wire_errc::malformed);
    }
    // Each block of an expected run counts as a run, also together with others.
    auto const full = digests_message{{0}, {expected_run(limits::digest_runs_max)}};
    auto two =
        encoded(digests_message{{0}, {expected_run(limits::digest_runs_max - 1), zero_run(1)}});
    CHECK(decode_digests(payload_of(encoded(full))).runs.size() == 1);
    CHECK(decode_digests(payload_of(two)).runs.size() == 2);
    store_le(two.data() + limits::frame_header_bytes + 11,
             static_cast<std::uint32_t>(limits::digest_runs_max));
    CHECK(code_of([&] { (void)decode_digests(payload_of(two)); }) == wire_errc::malformed);
  }

  TEST_CASE("END's digest covers the expected ids, and what an agent makes of them is noticed") {
    for (bool const honest : {true, false}) {
      auto server = server_with_source(2 * block_bytes);
      server.expect({0}, ids_of(0, 2));
      feed_all(server, encoded(digests_message{{0}, {expected_run(2)}}));
      image_digest digest({2 * block_bytes, block_bytes});
      digest.add(data_run(sample_id(0)));
      digest.add(data_run(sample_id(honest ? 1 : 7)));
      auto const end = encoded(end_message{{2}, {2}, {0}, {0}, 0, digest.value()});
      if (honest) {
        CHECK_FALSE(fed(server, end));
      } else {
        CHECK(fed(server, end) == wire_errc::totals_differ);
      }
    }
  }

  TEST_CASE("what was announced meanwhile, and nothing at both ends, is not told") {
    auto server = server_with_source(40 * block_bytes);
    feed_all(server, encoded(digests_message{{0}, {zero_run(3)}}));
    auto ids = ids_of(1, 7);
    ids[2] = ids[4] = ids[6] = no_block;  // of blocks 3, 5 and 7
    server.expect({1}, ids);
    CHECK(server.take_output() == expect(4, {sample_id(4), no_block, sample_id(6)}));
    CHECK(server.expected_until().value == 7);
    server.expect({8}, std::vector<block_id>(3, no_block));
    CHECK(server.take_output().empty());
  }

  TEST_CASE("before SOURCE it is told from START's first block on, after END not at all") {
    auto start = sample_start();
    start.first_block = {5};
    server_session server(sample_nonce(), start);
    feed_all(server, encoded(sample_hello()));
    server.start();
    (void)server.take_output();
    CHECK(server.expected_from().value == 5);
    server.expect({5}, ids_of(5, 1));
    CHECK(server.take_output() == expect(5, ids_of(5, 1)));
    feed_all(server, encoded(source_message{.image_bytes = 5 * block_bytes}));
    image_digest const digest({5 * block_bytes, block_bytes}, {5});
    feed_all(server, encoded(end_message{{5}, {0}, {0}, {0}, 0, digest.value()}));
    server.expect({6}, ids_of(6, 2));
    CHECK(server.take_output().empty());
  }

  TEST_CASE("more ids than one message may carry go out as several") {
    auto server = server_with_source(ahead * block_bytes);
    server.expect({0}, ids_of(0, 2 * limits::expected_ids_max + 1));
    auto agent = agent_with_source(ahead * block_bytes);
    feed_all(agent, server.take_output());
    for (std::uint64_t i = 0; i <= 2 * limits::expected_ids_max; ++i) {
      CHECK(agent.expected({i}) == sample_id(i));
    }
  }

  // ---- The agent --------------------------------------------------------------------------------

  TEST_CASE("EXPECT is allowed from START to DONE") {
    auto const out_of_order = make_error_code(wire_errc::out_of_order);
    agent_session fresh;
    CHECK(fed(fresh, expect(0, ids_of(0, 1))) == out_of_order);
    agent_session started;
    feed_all(started, encoded(sample_start()));
    CHECK_FALSE(fed(started, expect(0, ids_of(0, 1))));
    CHECK(started.expected({0}) == sample_id(0));
    auto agent = agent_with_source(0);
    agent.end(0);
    CHECK_FALSE(fed(agent, expect(0, ids_of(0, 1))));
    byte_vector done;
    encode_done(done);
    CHECK_FALSE(fed(agent, done));
    CHECK(fed(agent, expect(1, ids_of(0, 1))) == out_of_order);
  }

  TEST_CASE("an EXPECT that goes back, repeats, or is one too many is refused") {
    auto const out_of_range = make_error_code(wire_errc::index_out_of_range);
    auto const after_two = [](byte_vector const& bytes) {
      auto agent = agent_with_source(40 * block_bytes);
      feed_all(agent, expect(2, ids_of(2, 2)));
      return fed(agent, bytes);
    };
    CHECK_FALSE(after_two(expect(4, ids_of(4, 1))));
    CHECK(after_two(expect(3, ids_of(3, 1))) == out_of_range);
    CHECK(after_two(expect(0, ids_of(0, 1))) == out_of_range);
    CHECK(after_two(expect(~std::uint64_t{0}, ids_of(0, 2))) == out_of_range);
    CHECK(after_two(frame_of(message_kind::expect, byte_vector(10))) == wire_errc::malformed);
    auto agent = agent_with_source(40 * block_bytes);
    constexpr auto full = limits::expected_ids_max;
    for (std::uint64_t i = 0; i < ahead; i += full) {
      CHECK_FALSE(fed(agent, expect(10 * i, ids_of(0, full))));
    }
    CHECK_FALSE(fed(agent, expect(100 * ahead, {no_block})));
    CHECK(fed(agent, expect(100 * ahead + 1, ids_of(0, 1))) == out_of_range);
  }

  TEST_CASE("what comes too late, or behind the end of the source, is no error and not used") {
    auto agent = agent_with_source(4 * block_bytes);
    agent.digests({{0}, {zero_run(2)}});
    CHECK_FALSE(fed(agent, expect(0, ids_of(0, 9))));
    CHECK(agent.expected({1}) == no_block);
    CHECK(agent.expected({2}) == sample_id(2));
    agent.digests({{2}, {expected_run(sample_id(2)), zero_run(1)}});
    CHECK(agent.complete());
  }

  TEST_CASE("runs of all kinds go together, and neighbours as expected are one run") {
    auto server = server_with_source(10 * block_bytes);
    auto agent = agent_with_source(10 * block_bytes);
    server.expect({1}, ids_of(1, 6));
    feed_all(agent, server.take_output());
    agent.digests({{0},
                   {data_run(sample_id(0)), expected_run(sample_id(1)), expected_run(sample_id(2)),
                    data_run(sample_id(3)), expected_run(sample_id(4)), zero_run(2),
                    data_run(sample_id(7)), zero_run(2, run_kind::hole)}});
    auto const said = agent.take_output();
    auto const raw = decode_digests(payload_of(said));
    REQUIRE(raw.runs.size() == 7);
    CHECK(raw.runs[1].kind == run_kind::expected);
    CHECK(raw.runs[1].blocks.value == 2);
    CHECK(agent.unsettled() == 3);
    feed_all(server, said);
    server.answer(std::vector<verdict>(3, verdict::have));
    feed_all(agent, server.take_output());
    CHECK(agent.complete());
    agent.end(0);
    feed_all(server, agent.take_output());
    CHECK(server.has_ended());
  }

  TEST_CASE("more expected blocks than one message may carry go out as several") {
    constexpr std::uint64_t blocks = 3 * limits::digest_runs_max + 5;
    auto server = server_with_source(blocks * block_bytes);
    auto agent = agent_with_source(blocks * block_bytes);
    server.expect({0}, ids_of(0, blocks));
    feed_all(agent, server.take_output());
    digests_message m;
    for (std::uint64_t i = 0; i < blocks; ++i) m.runs.push_back(expected_run(sample_id(i)));
    agent.digests(m);
    CHECK(agent.complete());
    agent.end(0);
    auto const said = agent.take_output();
    CHECK(said.size() < 200);
    feed_all(server, said);
    CHECK(server.has_ended());
  }
}

}  // namespace diskdump
