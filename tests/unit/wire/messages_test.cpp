#include "wire/messages.hpp"

#include "wire_test_support.hpp"

namespace diskdump {

namespace {

// One case of each message: its frame, and its decoder as a function that gives the frame again.
struct sample {
  message_kind kind;
  byte_vector frame;
  std::function<byte_vector(byte_view)> again;
};

template <class Message, class Decode>
sample sample_of(message_kind kind, Message const& m, Decode decode) {
  return {kind, encoded(m), [decode](byte_view payload) { return encoded(decode(payload)); }};
}

source_message sample_source() {
  return {.image_bytes = 1'000'000'007,
          .type = source_type::block_device,
          .direct_io = true,
          .alignment_bytes = 512,
          .identity = "serial=WD-42 uuid=1-2"};
}

start_message full_start() {
  return {.path = "/dev/mapper/a b'$(x)",
          .block_bytes = 131072,
          .batch_blocks = 80,
          .codec = codec_policy::zlib,
          .first_block = {77},
          .read_limit_bytes_per_s = 1'000'000,
          .threads_max = 3,
          .skip_bad_sectors = true,
          .low_priority = true};
}

digests_message sample_digests() {
  return {{5},
          {data_run(sample_id(1)),
           zero_run(1000),
           zero_run(1, run_kind::hole),
           {run_kind::expected, {}, {7}}}};
}

std::vector<sample> all_samples() {
  std::vector<sample> out{
      sample_of(message_kind::hello, sample_hello(), decode_hello),
      sample_of(message_kind::source, sample_source(), decode_source),
      sample_of(message_kind::digests, sample_digests(), decode_digests),
      sample_of(message_kind::note, note_message{2, "a note"}, decode_note),
      sample_of(message_kind::bad_range, bad_range_message{4096, 512}, decode_bad_range),
      sample_of(message_kind::end, end_message{{9}, {4}, {5}, {3}, 77, sample_id(2)}, decode_end),
      sample_of(message_kind::abort,
                abort_message{abort_code::read_failed, 5, 1 << 20, "bad sector"}, decode_abort),
      sample_of(message_kind::start, full_start(), decode_start),
      sample_of(message_kind::answer,
                answer_message{{3}, {verdict::have, verdict::need, verdict::wait}}, decode_answer),
      sample_of(message_kind::settle, settle_message{{3}, verdict::need}, decode_settle),
      sample_of(message_kind::limit, limit_message{1'000'000}, decode_limit),
      sample_of(message_kind::expect, expect_message{{3}, {sample_id(1), no_block}}, decode_expect),
  };
  byte_vector codec;
  encode_codec(codec, codec_policy::zlib);
  out.push_back({message_kind::codec, codec, [](byte_view payload) {
                   byte_vector to;
                   encode_codec(to, decode_codec(payload));
                   return to;
                 }});
  byte_vector done;
  encode_done(done);
  out.push_back({message_kind::done, done, [](byte_view payload) {
                   byte_vector to;
                   decode_done(payload);
                   encode_done(to);
                   return to;
                 }});
  return out;
}

// Decoding `frame` with the byte at `at` of its payload set to `value`.
std::error_code with_byte(byte_vector frame, std::size_t at, unsigned value,
                          std::function<void(byte_view)> const& decode) {
  frame[limits::frame_header_bytes + at] = static_cast<std::byte>(value);
  return code_of([&] { decode(payload_of(frame)); });
}

std::error_code start_code(std::function<void(start_message&)> const& change) {
  auto m = full_start();
  change(m);
  return code_of([&] { check(m); });
}

}  // namespace

TEST_SUITE("messages") {
  TEST_CASE("each message comes back as it was, in a frame of its kind and length") {
    for (auto const& s : all_samples()) {
      CAPTURE(to_string(s.kind));
      CHECK(load_le<std::uint32_t>(s.frame.data()) == s.frame.size() - limits::frame_header_bytes);
      CHECK(s.frame[4] == static_cast<std::byte>(s.kind));
      CHECK(s.again(payload_of(s.frame)) == s.frame);
    }
  }

  TEST_CASE("fields keep their values") {
    auto const hello = decode_hello(payload_of(encoded(sample_hello())));
    CHECK(hello.nonce == sample_nonce());
    CHECK(hello.architecture == machine_architecture::x86_64);
    CHECK(hello.engine == read_engine::uring);
    CHECK(hello.self_digest == sha256(as_bytes("agent")));
    CHECK(hello.build == "1.0.0");
    auto const source = decode_source(payload_of(encoded(sample_source())));
    CHECK(source.image_bytes == 1'000'000'007);
    CHECK(source.type == source_type::block_device);
    CHECK(source.direct_io);
    CHECK_FALSE(source.without_ring);
    CHECK(decode_source(payload_of(encoded(source_message{.without_ring = true}))).without_ring);
    CHECK(source.alignment_bytes == 512);
    CHECK(source.identity == "serial=WD-42 uuid=1-2");
    auto const start = decode_start(payload_of(encoded(full_start())));
    CHECK(start.path == "/dev/mapper/a b'$(x)");
    CHECK(start.block_bytes == 131072);
    CHECK(start.batch_blocks == 80);
    CHECK(start.codec == codec_policy::zlib);
    CHECK(start.first_block.value == 77);
    CHECK(start.read_limit_bytes_per_s == 1'000'000);
    CHECK(start.threads_max == 3);
    CHECK(start.skip_bad_sectors);
    CHECK(start.low_priority);
    auto const digests = decode_digests(payload_of(encoded(sample_digests())));
    CHECK(digests.first.value == 5);
    REQUIRE(digests.runs.size() == 4);
    CHECK(digests.runs[0].id == sample_id(1));
    CHECK(digests.runs[1].kind == run_kind::zeros);
    CHECK(digests.runs[1].blocks.value == 1000);
    CHECK(digests.runs[2].kind == run_kind::hole);
    CHECK(digests.runs[3].kind == run_kind::expected);
    CHECK(digests.runs[3].blocks.value == 7);
    auto const expect = decode_expect(
        payload_of(encoded(expect_message{{3}, {sample_id(1), no_block, sample_id(2)}})));
    CHECK(expect.first.value == 3);
    CHECK(expect.ids == std::vector{sample_id(1), no_block, sample_id(2)});
    auto const end =
        decode_end(payload_of(encoded(end_message{{9}, {4}, {5}, {3}, 77, sample_id(2)})));
    CHECK(end.blocks.value == 9);
    CHECK(end.data_blocks.value == 4);
    CHECK(end.zero_blocks.value == 5);
    CHECK(end.sent_blocks.value == 3);
    CHECK(end.read_bytes == 77);
    CHECK(end.ids_digest == sample_id(2));
    byte_vector block;
    encode_block_header(block, {{7}, block_codec::zlib, 4096}, 100);
    auto const header = decode_block_header(payload_of(block).first(limits::block_header_bytes));
    CHECK(load_le<std::uint32_t>(block.data()) == limits::block_header_bytes + 100);
    CHECK(header.index.value == 7);
    CHECK(header.codec == block_codec::zlib);
    CHECK(header.raw_bytes == 4096);
  }

  TEST_CASE("every message is refused cut off at any byte, and with a byte too many") {
    for (auto const& s : all_samples()) {
      CAPTURE(to_string(s.kind));
      auto const payload = payload_of(s.frame);
      for (std::size_t length = 0; length < payload.size(); ++length) {
        CAPTURE(length);
        CHECK(code_of([&] { s.again(payload.first(length)); }) == wire_errc::malformed);
      }
      byte_vector longer(payload.begin(), payload.end());
      longer.push_back(std::byte{0});
      CHECK(code_of([&] { s.again(longer); }) == wire_errc::malformed);
    }
  }

  TEST_CASE("numbers that name nothing are refused") {
    auto const malformed = make_error_code(wire_errc::malformed);
    auto const hello = encoded(sample_hello());
    CHECK(with_byte(hello, 18, 3, [](auto p) { (void)decode_hello(p); }) == malformed);
    CHECK(with_byte(hello, 20, 3, [](auto p) { (void)decode_hello(p); }) == malformed);
    auto const source = encoded(sample_source());
    CHECK(with_byte(source, 8, 0, [](auto p) { (void)decode_source(p); }) == malformed);
    CHECK(with_byte(source, 8, 3, [](auto p) { (void)decode_source(p); }) == malformed);
    CHECK(with_byte(source, 9, 4, [](auto p) { (void)decode_source(p); }) == malformed);
    CHECK(with_byte(source, 10, 3, [](auto p) { (void)decode_source(p); }) == malformed);
    auto const digests = encoded(sample_digests());
    CHECK(with_byte(digests, 10 + 33, 4, [](auto p) { (void)decode_digests(p); }) == malformed);
    auto const note = encoded(note_message{2, "a"});
    CHECK(with_byte(note, 0, 3, [](auto p) { (void)decode_note(p); }) == malformed);
    auto const abort = encoded(abort_message{});
    CHECK(with_byte(abort, 0, 0, [](auto p) { (void)decode_abort(p); }) == malformed);
    CHECK(with_byte(abort, 0, 7, [](auto p) { (void)decode_abort(p); }) == malformed);
    auto const start = encoded(full_start());
    CHECK(with_byte(start, 8, 3, [](auto p) { (void)decode_start(p); }) == malformed);
    CHECK(with_byte(start, 27, 4, [](auto p) { (void)decode_start(p); }) == malformed);
    auto const answer = encoded(answer_message{{3}, {verdict::have}});
    CHECK(with_byte(answer, 10, 3, [](auto p) { (void)decode_answer(p); }) == malformed);
    // A settled block cannot wait again.
    auto const settle = encoded(settle_message{{3}, verdict::have});
    CHECK(with_byte(settle, 8, 2, [](auto p) { (void)decode_settle(p); }) == malformed);
    byte_vector codec;
    encode_codec(codec, codec_policy::none);
    CHECK(with_byte(codec, 0, 3, [](auto p) { (void)decode_codec(p); }) == malformed);
    byte_vector block;
    encode_block_header(block, {{7}, block_codec::raw, 4096}, 4096);
    CHECK(with_byte(block, 8, 3, [](auto p) { (void)decode_block_header(p); }) == malformed);
  }

  TEST_CASE("counts and lengths above their bounds are refused before they are believed") {
    auto const malformed = make_error_code(wire_errc::malformed);
    auto const digests = encoded(sample_digests());
    CHECK(with_byte(digests, 8, 0, [](auto p) { (void)decode_digests(p); }) == malformed);
    CHECK(with_byte(digests, 9, 2, [](auto p) { (void)decode_digests(p); }) == malformed);
    // Zero blocks: none, and more than one message may carry.
    byte_vector runs;
    append_le(runs, std::uint64_t{0});
    append_le(runs, std::uint16_t{1});
    append_le(runs, std::uint8_t{1});
    for (auto const blocks : {0U, unsigned{limits::digests_blocks_max} + 1, ~0U}) {
      auto payload = runs;
      append_le(payload, std::uint32_t{blocks});
      CHECK(code_of([&] { (void)decode_digests(payload); }) == malformed);
    }
    append_le(runs, static_cast<std::uint32_t>(limits::digests_blocks_max));
    CHECK(decode_digests(runs).runs[0].blocks.value == limits::digests_blocks_max);
    auto const answer = encoded(answer_message{{3}, {verdict::have}});
    CHECK(with_byte(answer, 8, 0, [](auto p) { (void)decode_answer(p); }) == malformed);
    CHECK(with_byte(answer, 9, 2, [](auto p) { (void)decode_answer(p); }) == malformed);
    auto const expect = encoded(expect_message{{3}, {sample_id(1)}});
    CHECK(with_byte(expect, 8, 0, [](auto p) { (void)decode_expect(p); }) == malformed);
    CHECK(with_byte(expect, 9, 2, [](auto p) { (void)decode_expect(p); }) == malformed);
    auto const bad = encoded(bad_range_message{4096, 1});
    CHECK(with_byte(bad, 8, 0, [](auto p) { (void)decode_bad_range(p); }) == malformed);
    auto source = sample_source();
    source.image_bytes = limits::image_bytes_max + 1;
    CHECK(code_of([&] { (void)decode_source(payload_of(encoded(source))); }) == malformed);
    source.image_bytes = limits::image_bytes_max;
    CHECK(decode_source(payload_of(encoded(source))).image_bytes == limits::image_bytes_max);

    // Texts one byte longer than their bound; encode() itself would cut them.
    auto const text_payload = [](byte_vector const& fixed, std::size_t length) {
      auto payload = fixed;
      append_le(payload, static_cast<std::uint16_t>(length));
      payload.resize(payload.size() + length, std::byte{'x'});
      return payload;
    };
    byte_vector const note_fixed(1);
    CHECK(decode_note(text_payload(note_fixed, limits::note_bytes_max)).text.size() ==
          limits::note_bytes_max);
    CHECK(code_of([&] {
            (void)decode_note(text_payload(note_fixed, limits::note_bytes_max + 1));
          }) == malformed);
  }

  TEST_CASE("texts above their bound are cut when they are encoded") {
    auto const m = note_message{1, std::string(limits::note_bytes_max + 5, 'x')};
    CHECK(decode_note(payload_of(encoded(m))).text.size() == limits::note_bytes_max);
    auto hello = sample_hello();
    hello.build.assign(1000, 'b');
    CHECK(decode_hello(payload_of(encoded(hello))).build.size() == limits::build_bytes_max);
  }

  TEST_CASE("of a HELLO in another version only nonce and version are read") {
    byte_vector payload;
    append_bytes(payload, sample_nonce());
    append_le(payload, std::uint16_t{protocol_version + 1});
    append_bytes(payload, as_bytes("whatever comes"));
    auto const hello = decode_hello(payload);
    CHECK(hello.version == protocol_version + 1);
    CHECK(hello.nonce == sample_nonce());
  }

  TEST_CASE("a START with absurd values is refused by both ends") {
    auto const malformed = make_error_code(wire_errc::malformed);
    CHECK_FALSE(start_code([](auto&) {}));
    CHECK(start_code([](auto& m) { m.path = ""; }) == malformed);
    CHECK(start_code([](auto& m) { m.path = std::string("a\0b", 3); }) == malformed);
    CHECK(start_code([](auto& m) { m.path.assign(limits::path_bytes_max + 1, 'p'); }) == malformed);
    CHECK_FALSE(start_code([](auto& m) { m.path.assign(limits::path_bytes_max, 'p'); }));
    for (std::uint32_t const bytes : {0U, 1U, 2048U, 4095U, 4097U, 6144U, 0x80000000U, ~0U,
                                      limits::block_bytes_max + limits::block_bytes_multiple}) {
      CAPTURE(bytes);
      CHECK(start_code([&](auto& m) { m.block_bytes = bytes; }) == malformed);
    }
    CHECK_FALSE(start_code([](auto& m) {
      m.block_bytes = limits::block_bytes_max;
      m.batch_blocks = 64;
    }));
    CHECK(start_code([](auto& m) {
            m.block_bytes = limits::block_bytes_max;
            m.batch_blocks = 65;
          }) == malformed);
    CHECK(start_code([](auto& m) { m.batch_blocks = 0; }) == malformed);
    CHECK(start_code([](auto& m) {
            m.block_bytes = 4096;
            m.batch_blocks = limits::batch_blocks_max + 1;
          }) == malformed);
    CHECK(start_code([](auto& m) { m.first_block.value = ~std::uint64_t{0}; }) == malformed);

    // The same through the decoder: block size 4097 in an otherwise good frame.
    auto const start = encoded(full_start());
    CHECK(with_byte(start, 0, 1, [](auto p) { (void)decode_start(p); }) == malformed);
    auto const nul_at = start.size() - limits::frame_header_bytes - 1;
    CHECK(with_byte(start, nul_at, 0, [](auto p) { (void)decode_start(p); }) == malformed);
  }

  TEST_CASE("a nonce survives hex, and nothing but 32 lower-case hex digits is one") {
    auto const hex = nonce_hex(sample_nonce());
    CHECK(hex == "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
    CHECK(nonce_from_hex(hex) == sample_nonce());
    CHECK_FALSE(nonce_from_hex(hex.substr(2)));
    CHECK_FALSE(nonce_from_hex(hex + "00"));
    CHECK_FALSE(nonce_from_hex("A0" + hex.substr(2)));
    CHECK_FALSE(nonce_from_hex("g0" + hex.substr(2)));
  }

  TEST_CASE("every kind and code has a word of its own") {
    for (auto const& s : all_samples()) CHECK(to_string(s.kind) != "unknown message");
    for (int i = 1; i <= static_cast<int>(wire_errc::aborted_by_peer); ++i) {
      CHECK(sentence(static_cast<wire_errc>(i)) != sentence(wire_errc{}));
    }
  }
}

}  // namespace diskdump
