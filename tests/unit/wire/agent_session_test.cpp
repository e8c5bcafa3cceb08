// A hostile or broken server against the agent's session.
#include "wire/agent_session.hpp"

#include "wire_test_support.hpp"

namespace diskdump {

namespace {

byte_vector answer(std::uint64_t first, std::vector<verdict> verdicts) {
  return encoded(answer_message{{first}, std::move(verdicts)});
}

byte_vector settle(std::uint64_t index, verdict outcome) {
  return encoded(settle_message{{index}, outcome});
}

byte_vector codec(codec_policy policy) {
  byte_vector out;
  encode_codec(out, policy);
  return out;
}

byte_vector done() {
  byte_vector out;
  encode_done(out);
  return out;
}

// An agent that has announced two data blocks, a zero block and two data blocks: 0, 1, 3, 4.
agent_session agent_with_four() {
  auto agent = agent_with_source(10 * block_bytes);
  agent.digests({{0},
                 {data_run(sample_id(0)), data_run(sample_id(1)), zero_run(1),
                  data_run(sample_id(3)), data_run(sample_id(4))}});
  return agent;
}

}  // namespace

TEST_SUITE("agent_session") {
  TEST_CASE("messages that the exchange does not allow now are refused") {
    auto const out_of_order = make_error_code(wire_errc::out_of_order);
    auto const start = encoded(sample_start());
    for (auto const& bytes : {answer(0, {verdict::have}), settle(0, verdict::have),
                              codec(codec_policy::lz4), encoded(limit_message{1}), done()}) {
      agent_session agent;
      CHECK(fed(agent, bytes) == out_of_order);
    }
    for (auto const& bytes :
         {start, answer(0, {verdict::have}), settle(0, verdict::have), done()}) {
      agent_session agent;
      feed_all(agent, start);
      CHECK(fed(agent, bytes) == out_of_order);
    }
    for (auto const& bytes : {start, done()}) {
      auto agent = agent_with_four();
      CHECK(fed(agent, bytes) == out_of_order);
    }
    for (auto const& bytes : {start, answer(0, {verdict::have}), settle(0, verdict::have)}) {
      auto agent = agent_with_source(0);
      agent.end(0);
      CHECK(fed(agent, bytes) == out_of_order);
    }
    auto agent = agent_with_source(0);
    agent.end(0);
    // CODEC and LIMIT may cross END; after DONE there is nothing.
    CHECK_FALSE(fed(agent, codec(codec_policy::zlib)));
    CHECK_FALSE(fed(agent, encoded(limit_message{1})));
    CHECK_FALSE(fed(agent, done()));
    CHECK(fed(agent, done()) == out_of_order);
    CHECK(fed(agent, encoded(limit_message{1})) == out_of_order);
    CHECK(fed(agent, codec(codec_policy::zlib)) == out_of_order);
  }

  TEST_CASE("kinds that only an agent may send are refused") {
    agent_session agent;
    CHECK(fed(agent, encoded(note_message{})) == wire_errc::unknown_kind);
  }

  TEST_CASE("a START with absurd values is refused") {
    // encode() would refuse it too, so the frame is changed by hand: a batch of 0 blocks.
    auto start = encoded(sample_start());
    store_le(start.data() + limits::frame_header_bytes + 4, std::uint32_t{0});
    agent_session agent;
    CHECK(fed(agent, start) == wire_errc::malformed);
    store_le(start.data() + limits::frame_header_bytes + 4, ~std::uint32_t{0});
    agent_session other;
    CHECK(fed(other, start) == wire_errc::malformed);
  }

  TEST_CASE("a first block behind the end of the source is reported") {
    agent_session agent;
    auto start = sample_start();
    start.first_block.value = 3;
    feed_all(agent, encoded(start));
    CHECK(code_of([&] { agent.source({.image_bytes = 2 * block_bytes}); }) ==
          wire_errc::index_out_of_range);
    CHECK(code_of([&] { agent.source({.image_bytes = limits::image_bytes_max + 1}); }) ==
          wire_errc::malformed);
  }

  TEST_CASE("verdicts come with the index of the block they are for, zero blocks left out") {
    auto agent = agent_with_four();
    auto const first = feed_one<std::vector<block_verdict>>(
        agent, answer(0, {verdict::have, verdict::need, verdict::wait}));
    REQUIRE(first.size() == 3);
    CHECK(first[0].index.value == 0);
    CHECK(first[0].outcome == verdict::have);
    CHECK(first[1].index.value == 1);
    CHECK(first[2].index.value == 3);
    CHECK(first[2].outcome == verdict::wait);
    CHECK(agent.unsettled() == 3);
    auto const second = feed_one<std::vector<block_verdict>>(agent, settle(3, verdict::need));
    REQUIRE(second.size() == 1);
    CHECK(second[0].index.value == 3);
    CHECK(second[0].outcome == verdict::need);
    CHECK(agent.unsettled() == 3);
  }

  TEST_CASE("answers for blocks that were not announced are refused") {
    auto const not_asked_for = make_error_code(wire_errc::not_asked_for);
    auto none = agent_with_source(block_bytes);
    CHECK(fed(none, answer(0, {verdict::need})) == not_asked_for);
    auto more = agent_with_four();
    CHECK(fed(more, answer(0, std::vector<verdict>(5, verdict::need))) == not_asked_for);
    auto again = agent_with_four();
    feed_all(again, answer(0, std::vector<verdict>(4, verdict::need)));
    CHECK(fed(again, answer(0, {verdict::need})) == not_asked_for);
    for (std::uint64_t const first : {std::uint64_t{1}, std::uint64_t{2}, ~std::uint64_t{0}}) {
      auto agent = agent_with_four();
      CHECK(fed(agent, answer(first, {verdict::need})) == wire_errc::index_out_of_range);
    }
  }

  TEST_CASE("a settle of a block that does not wait is refused") {
    auto const not_asked_for = make_error_code(wire_errc::not_asked_for);
    for (std::uint64_t const index : {0, 1, 2, 4, 9, 100}) {
      CAPTURE(index);
      // 0 held, 1 needed, 2 zero, 3 waits, 4 unanswered, the others unknown.
      auto agent = agent_with_four();
      feed_all(agent, answer(0, {verdict::have, verdict::need, verdict::wait}));
      CHECK(fed(agent, settle(index, verdict::need)) == not_asked_for);
    }
    auto agent = agent_with_four();
    feed_all(agent, answer(0, {verdict::have, verdict::need, verdict::wait}));
    CHECK_FALSE(fed(agent, settle(3, verdict::have)));
    CHECK(fed(agent, settle(3, verdict::have)) == not_asked_for);
  }

  TEST_CASE("a block that was sent is not needed again") {
    auto agent = agent_with_four();
    feed_all(agent, answer(0, {verdict::need}));
    byte_vector header;
    agent.block({{0}, block_codec::lz4, block_bytes}, 100, header);
    CHECK(header.size() == limits::frame_header_bytes + limits::block_header_bytes);
    CHECK(agent.unsettled() == 3);
    CHECK(fed(agent, settle(0, verdict::need)) == wire_errc::not_asked_for);
  }

  TEST_CASE("it is complete when all is announced, answered and sent") {
    auto agent = agent_with_source(2 * block_bytes);
    CHECK_FALSE(agent.complete());
    agent.digests({{0}, {data_run(sample_id(0)), zero_run(1)}});
    CHECK_FALSE(agent.complete());
    feed_all(agent, answer(0, {verdict::wait}));
    CHECK_FALSE(agent.complete());
    feed_all(agent, settle(0, verdict::need));
    CHECK_FALSE(agent.complete());
    byte_vector header;
    agent.block({{0}, block_codec::raw, block_bytes}, block_bytes, header);
    CHECK(agent.complete());
    agent.end(block_bytes);
    CHECK_FALSE(agent.complete());
    (void)feed_one<finished>(agent, done());
  }

  TEST_CASE("notes beyond the server's bound are not sent, and the last one says so") {
    auto agent = agent_with_source(block_bytes);
    for (std::size_t i = 0; i < limits::notes_max + 10; ++i) agent.note({1, "again"});
    auto server = server_with_source(block_bytes);
    auto const bytes = agent.take_output();
    byte_view input(bytes);
    std::string last;
    std::size_t notes = 0;
    while (!input.empty()) {
      if (auto event = server.feed(input)) {
        last = std::get<note_message>(*event).text;
        ++notes;
      }
    }
    CHECK(notes == limits::notes_max);
    CHECK(last == "further notes are not sent");
  }

  TEST_CASE("a note after END is dropped, since the server would refuse it") {
    auto agent = agent_with_source(0);
    agent.end(0);
    (void)agent.take_output();
    agent.note({1, "late"});
    CHECK(agent.take_output().empty());
  }

  TEST_CASE("more bad ranges than the server takes end the dump") {
    auto agent = agent_with_source(block_bytes);
    for (std::size_t i = 0; i < limits::bad_ranges_max; ++i) agent.bad_range({i * 2, 1});
    // One that goes on is not another one.
    agent.bad_range({2 * limits::bad_ranges_max - 1, 1});
    CHECK(code_of([&] { agent.bad_range({4 * limits::bad_ranges_max, 1}); }) ==
          wire_errc::too_much_talk);
  }
}

}  // namespace diskdump
