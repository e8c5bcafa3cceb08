// A hostile or broken agent against the server's session: each breach ends in its own error, before
// anything is allocated or passed on.
#include "wire/server_session.hpp"

#include "wire_test_support.hpp"

namespace diskdump {

namespace {

byte_vector data_at(std::uint64_t first, std::uint64_t count) {
  digests_message m{{first}, {}};
  for (std::uint64_t i = 0; i < count; ++i) m.runs.push_back(data_run(sample_id(first + i)));
  return encoded(m);
}

byte_vector raw_block(std::uint64_t index, std::uint32_t length = block_bytes) {
  return block_frame(index, block_codec::raw, length, byte_vector(length));
}

std::vector<verdict> all(std::size_t count, verdict v) { return std::vector<verdict>(count, v); }

// A server that has 4 blocks announced, all of them needed.
server_session server_that_needs_four(std::uint64_t image_bytes = 10 * block_bytes) {
  auto server = server_with_source(image_bytes);
  feed_all(server, data_at(0, 4));
  server.answer(all(4, verdict::need));
  return server;
}

// What an agent says at the end of an image of two needed blocks and one zero block.
end_message right_end() {
  image_digest digest({3 * block_bytes, block_bytes});
  digest.add(data_run(sample_id(0)));
  digest.add(data_run(sample_id(1)));
  digest.add(zero_run(1));
  return {{3}, {2}, {1}, {2}, 2 * block_bytes, digest.value()};
}

server_session server_before_end() {
  auto server = server_with_source(3 * block_bytes);
  feed_all(server, data_at(0, 2));
  server.answer(all(2, verdict::need));
  feed_all(server, raw_block(1));
  feed_all(server, raw_block(0));
  feed_all(server, encoded(digests_message{{2}, {zero_run(1)}}));
  return server;
}

}  // namespace

TEST_SUITE("server_session") {
  TEST_CASE("a START that no agent would accept is refused before it is sent") {
    auto start = sample_start();
    start.batch_blocks = 0;
    CHECK(code_of([&] { server_session(sample_nonce(), start); }) == wire_errc::malformed);
  }

  TEST_CASE("an agent of another version is refused with both versions and what to do") {
    auto hello = sample_hello();
    hello.version = 2;
    server_session server(sample_nonce(), sample_start());
    auto const text = text_of([&] { feed_all(server, encoded(hello)); });
    CHECK(text.find("version 2 instead of 1") != std::string::npos);
    CHECK(text.find("(use an agent of this release)") != std::string::npos);
  }

  TEST_CASE("a HELLO with another nonce is noise") {
    auto hello = sample_hello();
    hello.nonce[0] ^= std::byte{1};
    server_session server(sample_nonce(), sample_start());
    feed_all(server, encoded(hello));
    CHECK(code_of([&] { server.feed_eof(); }) == wire_errc::no_hello);
  }

  TEST_CASE("a stream that ends before HELLO shows what came instead") {
    server_session server(sample_nonce(), sample_start());
    feed_all(server, as_bytes("bash: agent: No such file\n"));
    auto const text = text_of([&] { server.feed_eof(); });
    CHECK(text.find("bash: agent: No such file") != std::string::npos);
  }

  TEST_CASE("endless noise is refused") {
    server_session server(sample_nonce(), sample_start());
    std::error_code code;
    for (int i = 0; i < 100 && !code; ++i) code = fed(server, byte_vector(1000));
    CHECK(code == wire_errc::no_hello);
  }

  TEST_CASE("a HELLO that is cut off or has nothing but the nonce is refused") {
    auto const nonce = sample_nonce();
    server_session server(nonce, sample_start());
    CHECK(fed(server, frame_of(message_kind::hello, nonce)) == wire_errc::malformed);
  }

  TEST_CASE("messages that the exchange does not allow now are refused") {
    auto const source = encoded(source_message{.image_bytes = block_bytes});
    auto const done_end = encoded(end_message{});
    auto const before_start = [](byte_view bytes) {
      server_session server(sample_nonce(), sample_start());
      feed_all(server, encoded(sample_hello()));
      return fed(server, bytes);
    };
    auto const before_source = [](byte_view bytes) {
      server_session server(sample_nonce(), sample_start());
      feed_all(server, encoded(sample_hello()));
      server.start();
      return fed(server, bytes);
    };
    auto const after_source = [](byte_view bytes) {
      auto server = server_with_source(block_bytes);
      return fed(server, bytes);
    };
    auto const after_end = [](byte_view bytes) {
      auto server = server_before_end();
      feed_all(server, encoded(right_end()));
      return fed(server, bytes);
    };
    auto const out_of_order = make_error_code(wire_errc::out_of_order);
    CHECK(before_start(source) == out_of_order);
    CHECK(before_start(encoded(sample_hello())) == out_of_order);
    CHECK(before_source(encoded(sample_hello())) == out_of_order);
    CHECK(before_source(data_at(0, 1)) == out_of_order);
    CHECK(before_source(raw_block(0)) == out_of_order);
    CHECK(before_source(done_end) == out_of_order);
    CHECK(before_source(encoded(bad_range_message{0, 1})) == out_of_order);
    CHECK(after_source(source) == out_of_order);
    CHECK(after_source(encoded(sample_hello())) == out_of_order);
    CHECK(after_end(data_at(0, 1)) == out_of_order);
    CHECK(after_end(raw_block(0)) == out_of_order);
    CHECK(after_end(encoded(right_end())) == out_of_order);
    CHECK(after_end(encoded(note_message{})) == out_of_order);
    CHECK(after_end(encoded(bad_range_message{0, 1})) == out_of_order);
    // Notes are welcome from HELLO to END.
    CHECK_FALSE(before_start(encoded(note_message{})));
    CHECK_FALSE(before_source(encoded(note_message{})));
    CHECK_FALSE(after_source(encoded(note_message{})));
  }

  TEST_CASE("kinds that only a server may send are refused") {
    auto server = server_with_source(block_bytes);
    CHECK(fed(server, encoded(settle_message{})) == wire_errc::unknown_kind);
  }

  TEST_CASE("a source that is larger than any, or ends before the first block, is refused") {
    server_session server(sample_nonce(), sample_start());
    feed_all(server, encoded(sample_hello()));
    server.start();
    CHECK(fed(server, encoded(source_message{.image_bytes = limits::image_bytes_max + 1})) ==
          wire_errc::malformed);
    auto start = sample_start();
    start.first_block.value = 3;
    CHECK(code_of([&] { (void)server_with_source(2 * block_bytes, start); }) ==
          wire_errc::index_out_of_range);
    CHECK_FALSE(code_of([&] { (void)server_with_source(2 * block_bytes + 1, start); }));
  }

  TEST_CASE("announcements that leave a gap, overlap or run past the end are refused") {
    auto const out_of_range = make_error_code(wire_errc::index_out_of_range);
    auto const after_two = [](byte_view bytes) {
      auto server = server_with_source(10 * block_bytes);
      feed_all(server, data_at(0, 2));
      return fed(server, bytes);
    };
    CHECK(after_two(data_at(3, 1)) == out_of_range);
    CHECK(after_two(data_at(1, 1)) == out_of_range);
    CHECK(after_two(data_at(0, 2)) == out_of_range);
    CHECK(after_two(data_at(~std::uint64_t{0}, 1)) == out_of_range);
    CHECK(after_two(encoded(digests_message{{2}, {zero_run(9)}})) == out_of_range);
    CHECK(after_two(encoded(digests_message{{2}, {zero_run(8), zero_run(1)}})) == out_of_range);
    CHECK_FALSE(after_two(encoded(digests_message{{2}, {zero_run(7), zero_run(1)}})));
    auto empty = server_with_source(0);
    CHECK(fed(empty, encoded(digests_message{{0}, {zero_run(1)}})) == out_of_range);
  }

  TEST_CASE("more data blocks outstanding than the batch has slots are refused") {
    auto const exceeded = make_error_code(wire_errc::window_exceeded);
    auto fresh = server_with_source(100 * block_bytes);
    CHECK(fed(fresh, data_at(0, 9)) == exceeded);

    for (auto const outcome : {verdict::need, verdict::wait}) {
      auto server = server_with_source(100 * block_bytes);
      CHECK_FALSE(fed(server, data_at(0, 8)));
      CHECK(server.unanswered() == 8);
      server.answer(all(8, outcome));
      CHECK(server.unsettled() == 8);
      CHECK(fed(server, data_at(8, 1)) == exceeded);
    }

    // Held, settled and received blocks give their slots back; zero blocks take none.
    auto server = server_with_source(100 * block_bytes);
    feed_all(server, data_at(0, 8));
    server.answer(std::vector{verdict::have, verdict::need, verdict::wait});
    CHECK(server.unanswered() == 5);
    CHECK(server.unsettled() == 7);
    server.settle({2}, verdict::have);
    feed_all(server, raw_block(1));
    CHECK(server.unsettled() == 5);
    CHECK_FALSE(fed(server, encoded(digests_message{{8}, {zero_run(50)}})));
    CHECK_FALSE(fed(server, data_at(58, 3)));
    CHECK(fed(server, data_at(61, 1)) == exceeded);
  }

  TEST_CASE("a block that was not asked for, or came before, is refused at its header") {
    auto const not_asked_for = make_error_code(wire_errc::not_asked_for);
    auto const header_of = [](std::uint64_t index) {
      auto frame = raw_block(index);
      frame.resize(limits::frame_header_bytes + limits::block_header_bytes);
      return frame;
    };
    auto unanswered = server_with_source(10 * block_bytes);
    feed_all(unanswered, data_at(0, 1));
    CHECK(fed(unanswered, header_of(0)) == not_asked_for);
    auto unknown = server_that_needs_four();
    CHECK(fed(unknown, header_of(4)) == not_asked_for);
    auto beyond = server_that_needs_four();
    CHECK(fed(beyond, header_of(10)) == wire_errc::index_out_of_range);
    auto far = server_that_needs_four();
    CHECK(fed(far, header_of(~std::uint64_t{0})) == wire_errc::index_out_of_range);
    auto twice = server_that_needs_four();
    feed_all(twice, raw_block(2));
    CHECK(fed(twice, header_of(2)) == not_asked_for);
    for (auto const outcome : {verdict::have, verdict::wait}) {
      auto server = server_with_source(10 * block_bytes);
      feed_all(server, data_at(0, 1));
      server.answer(all(1, outcome));
      CHECK(fed(server, header_of(0)) == not_asked_for);
    }
    auto settled = server_with_source(10 * block_bytes);
    feed_all(settled, data_at(0, 2));
    settled.answer(all(2, verdict::wait));
    settled.settle({0}, verdict::need);
    settled.settle({1}, verdict::have);
    CHECK_FALSE(fed(settled, raw_block(0)));
    CHECK(fed(settled, header_of(1)) == not_asked_for);
  }

  TEST_CASE("a block of another length than the geometry says is refused") {
    auto server = server_that_needs_four();
    CHECK(fed(server, raw_block(0, block_bytes - 1)) == wire_errc::malformed);
    // The last block of an image of 3 blocks and 5 bytes.
    auto full = server_that_needs_four(3 * block_bytes + 5);
    CHECK(fed(full, raw_block(3)) == wire_errc::malformed);
    auto shorter = server_that_needs_four(3 * block_bytes + 5);
    CHECK(fed(shorter, raw_block(3, 4)) == wire_errc::malformed);
    auto right = server_that_needs_four(3 * block_bytes + 5);
    CHECK_FALSE(fed(right, raw_block(3, 5)));
  }

  TEST_CASE("lengths that no block can have are refused") {
    auto const payload = byte_vector(block_bytes + 1);
    auto longer = server_that_needs_four();
    CHECK(fed(longer, block_frame(0, block_codec::lz4, block_bytes, payload)) ==
          wire_errc::frame_too_long);
    auto partial = server_that_needs_four(3 * block_bytes + 5);
    CHECK(fed(partial, block_frame(3, block_codec::lz4, 5, byte_vector(6))) ==
          wire_errc::frame_too_long);
    auto huge = server_that_needs_four();
    byte_vector header;
    append_le(header, ~std::uint32_t{0});
    append_le(header, static_cast<std::uint8_t>(message_kind::block));
    CHECK(fed(huge, header) == wire_errc::frame_too_long);
  }

  TEST_CASE("a received block carries the announced id, and its payload as it came") {
    auto server = server_that_needs_four();
    byte_vector const packed(77, std::byte{0x5a});
    auto const bytes = block_frame(3, block_codec::zlib, block_bytes, packed);
    byte_view input(bytes);
    auto const first = server.feed(input);
    REQUIRE(first);
    auto const& incoming = std::get<block_incoming>(*first);
    CHECK(incoming.index.value == 3);
    CHECK(incoming.codec == block_codec::zlib);
    CHECK(incoming.raw_bytes == block_bytes);
    CHECK(incoming.payload_bytes == 77);
    auto const block = feed_one<block_received>(server, input);
    CHECK(block.index.value == 3);
    CHECK(block.id == sample_id(3));
    CHECK(block.codec == block_codec::zlib);
    CHECK(block.raw_bytes == block_bytes);
    CHECK(block.payload == packed);
  }

  TEST_CASE("endless notes and bad ranges are refused") {
    auto server = server_with_source(10 * block_bytes);
    auto const note = encoded(note_message{1, "again"});
    for (std::size_t i = 0; i < limits::notes_max; ++i) REQUIRE_FALSE(fed(server, note));
    CHECK(fed(server, note) == wire_errc::too_much_talk);

    auto other = server_with_source(10 * block_bytes);
    // Apart from each other; the size of the disk is not what stops it.
    auto const bad = [](std::uint64_t i) { return encoded(bad_range_message{i * 2, 1}); };
    for (std::size_t i = 0; i < limits::bad_ranges_max; ++i) REQUIRE_FALSE(fed(other, bad(i)));
    CHECK(fed(other, bad(limits::bad_ranges_max)) == wire_errc::too_much_talk);
  }

  TEST_CASE("parts of a bad range that touch count as one") {
    auto server = server_with_source(10 * block_bytes);
    for (std::size_t i = 0; i < limits::bad_ranges_max + 10; ++i) {
      REQUIRE_FALSE(fed(server, encoded(bad_range_message{i * 2, 2})));
    }
  }

  TEST_CASE("a bad range that was told before, or of blocks that were announced, is refused") {
    auto server = server_with_source(10 * block_bytes);
    REQUIRE_FALSE(fed(server, encoded(bad_range_message{512, 512})));
    CHECK(fed(server, encoded(bad_range_message{512, 512})) == wire_errc::index_out_of_range);
    auto late = server_with_source(10 * block_bytes);
    digests_message announced{{0}, {{run_kind::zeros, {}, {2}}}};
    byte_vector frame;
    encode(frame, announced);
    REQUIRE_FALSE(fed(late, frame));
    CHECK(fed(late, encoded(bad_range_message{0, 512})) == wire_errc::index_out_of_range);
  }

  TEST_CASE("a bad range outside the image is refused") {
    auto const fed_range = [](std::uint64_t offset, std::uint64_t length) {
      auto server = server_with_source(10 * block_bytes);
      return fed(server, encoded(bad_range_message{offset, length}));
    };
    CHECK_FALSE(fed_range(0, 10 * block_bytes));
    CHECK_FALSE(fed_range(10 * block_bytes - 1, 1));
    CHECK(fed_range(10 * block_bytes, 1) == wire_errc::index_out_of_range);
    CHECK(fed_range(1, 10 * block_bytes) == wire_errc::index_out_of_range);
    CHECK(fed_range(4096, ~std::uint64_t{0}) == wire_errc::index_out_of_range);
  }

  TEST_CASE("END before everything was announced, answered and sent is refused") {
    auto const early = make_error_code(wire_errc::early_end);
    auto const end = encoded(right_end());
    auto nothing = server_with_source(3 * block_bytes);
    CHECK(fed(nothing, end) == early);
    auto unannounced = server_with_source(3 * block_bytes);
    feed_all(unannounced, encoded(digests_message{{0}, {zero_run(2)}}));
    CHECK(fed(unannounced, end) == early);
    for (auto const outcome : {verdict::need, verdict::wait}) {
      auto server = server_with_source(block_bytes);
      feed_all(server, data_at(0, 1));
      server.answer(all(1, outcome));
      CHECK(fed(server, end) == early);
    }
    auto unanswered = server_with_source(block_bytes);
    feed_all(unanswered, data_at(0, 1));
    CHECK(fed(unanswered, end) == early);
  }

  TEST_CASE("END is accepted with the right totals only") {
    auto const ended_with = [](std::function<void(end_message&)> const& change) {
      auto server = server_before_end();
      auto end = right_end();
      change(end);
      auto const code = fed(server, encoded(end));
      CHECK(server.has_ended() == !code);
      return code;
    };
    auto const differ = make_error_code(wire_errc::totals_differ);
    CHECK_FALSE(ended_with([](auto&) {}));
    CHECK(ended_with([](auto& m) { ++m.blocks; }) == differ);
    CHECK(ended_with([](auto& m) { ++m.data_blocks; }) == differ);
    CHECK(ended_with([](auto& m) { ++m.zero_blocks; }) == differ);
    CHECK(ended_with([](auto& m) { --m.sent_blocks.value; }) == differ);
    CHECK(ended_with([](auto& m) { m.ids_digest.bytes[31] ^= std::byte{1}; }) == differ);
  }

  TEST_CASE("a stream that ends too early says how far it came, and may be tried again") {
    auto server = server_that_needs_four();
    try {
      server.feed_eof();
      FAIL("no error");
    } catch (error const& e) {
      CHECK(e.code() == wire_errc::early_end);
      CHECK(e.kind() == severity::transient);
      CHECK(e.offset() == 4 * block_bytes);
    }
    // Inside a frame, before SOURCE, and after END inside a frame.
    auto inside = server_that_needs_four();
    feed_all(inside, byte_view(raw_block(0)).first(100));
    CHECK(code_of([&] { inside.feed_eof(); }) == wire_errc::early_end);
    server_session before_source(sample_nonce(), sample_start());
    feed_all(before_source, encoded(sample_hello()));
    CHECK(code_of([&] { before_source.feed_eof(); }) == wire_errc::early_end);
    auto ended_server = server_before_end();
    CHECK(code_of([&] { ended_server.feed_eof(); }) == wire_errc::early_end);
    feed_all(ended_server, encoded(right_end()));
    CHECK_FALSE(code_of([&] { ended_server.feed_eof(); }));
    feed_all(ended_server, as_bytes("\x01"));
    CHECK(code_of([&] { ended_server.feed_eof(); }) == wire_errc::early_end);
  }

  TEST_CASE("texts of the agent cannot carry escape sequences") {
    server_session server(sample_nonce(), sample_start());
    auto hello = sample_hello();
    hello.build = "1\x1b[2J";
    CHECK(feed_one<hello_message>(server, encoded(hello)).build == "1\\x1b[2J");
    server.start();
    auto const source =
        encoded(source_message{.image_bytes = 1, .identity = "serial=\x1b]0;x\x07"});
    CHECK(feed_one<source_message>(server, source).identity == "serial=\\x1b]0;x\\x07");
    auto const note = encoded(note_message{1, "a\r\x9b"});
    CHECK(feed_one<note_message>(server, note).text == "a\\x0d\\x9b");
  }

  TEST_CASE("after a breach the server can still tell the agent to stop") {
    auto server = server_with_source(block_bytes);
    CHECK(fed(server, data_at(5, 1)) == wire_errc::index_out_of_range);
    server.abort(abort_code::protocol, "bad index");
    CHECK(server.take_output() ==
          encoded(abort_message{.code = abort_code::protocol, .text = "bad index"}));
  }

  TEST_CASE("a read limit goes with START, later as LIMIT, and not after the end") {
    server_session server(sample_nonce(), sample_start());
    server.limit_read(5000);
    feed_all(server, encoded(sample_hello()));
    server.start();
    auto started = sample_start();
    started.read_limit_bytes_per_s = 5000;
    CHECK(server.take_output() == encoded(started));
    server.limit_read(2500);
    CHECK(server.take_output() == encoded(limit_message{2500}));

    auto ending = server_before_end();
    feed_all(ending, encoded(right_end()));
    static_cast<void>(ending.take_output());
    ending.limit_read(1000);
    CHECK(ending.take_output().empty());
  }

  TEST_CASE("a codec switch after the end is not sent") {
    auto server = server_before_end();
    server.switch_codec(codec_policy::zlib);
    byte_vector expected = server.take_output();
    CHECK_FALSE(expected.empty());
    feed_all(server, encoded(right_end()));
    server.switch_codec(codec_policy::lz4);
    CHECK(server.take_output().empty());
  }
}

}  // namespace diskdump
