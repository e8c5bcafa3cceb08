#include "wire/frame.hpp"

#include <random>

#include "wire_test_support.hpp"

namespace diskdump {

namespace {

byte_vector noise_of(std::size_t length, std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  byte_vector out(length);
  for (auto& b : out) b = static_cast<std::byte>(random());
  return out;
}

byte_vector header_of(std::uint32_t length, unsigned kind) {
  byte_vector out;
  append_le(out, length);
  append_le(out, static_cast<std::uint8_t>(kind));
  return out;
}

std::error_code decoder_code(wire_side side, byte_view bytes, std::uint32_t block_bytes = 0) {
  return code_of([&] {
    frame_decoder decoder(side);
    decoder.set_block_bytes(block_bytes);
    while (!bytes.empty()) (void)decoder.feed(bytes);
  });
}

}  // namespace

TEST_SUITE("frame") {
  TEST_CASE("frames come out whole however their bytes are cut") {
    auto const raw = noise_of(4096);
    auto const bytes = joined({encoded(note_message{1, "one"}), encoded(note_message{2, ""}),
                               block_frame(3, block_codec::lz4, 4096, byte_view(raw).first(100)),
                               block_frame(4, block_codec::raw, 4096, raw)});
    for (std::size_t const step : {1, 2, 3, 5, 7, 64, 100000}) {
      CAPTURE(step);
      frame_decoder decoder(wire_side::server);
      decoder.set_block_bytes(4096);
      std::vector<frame_decoder::event> events;
      for (std::size_t at = 0; at < bytes.size(); at += step) {
        auto piece = byte_view(bytes).subspan(at, std::min(step, bytes.size() - at));
        while (!piece.empty()) {
          if (auto event = decoder.feed(piece)) events.push_back(std::move(*event));
        }
      }
      CHECK(decoder.at_boundary());
      REQUIRE(events.size() == 6);
      auto const& note = std::get<frame_decoder::frame>(events[0]);
      CHECK(note.kind == message_kind::note);
      CHECK(decode_note(note.payload).text == "one");
      auto const& announced = std::get<frame_decoder::block_announced>(events[2]);
      CHECK(announced.header.index.value == 3);
      CHECK(announced.payload_bytes == 100);
      auto const& block = std::get<frame_decoder::frame>(events[5]);
      CHECK(block.kind == message_kind::block);
      CHECK(block.header.index.value == 4);
      CHECK(block.payload == raw);
    }
  }

  TEST_CASE("a frame without payload comes with its last header byte") {
    byte_vector done;
    encode_done(done);
    frame_decoder decoder(wire_side::agent);
    byte_view input(done);
    auto const event = decoder.feed(input);
    REQUIRE(event);
    CHECK(std::get<frame_decoder::frame>(*event).kind == message_kind::done);
  }

  TEST_CASE("a stream may end between frames only") {
    auto const bytes = block_frame(3, block_codec::lz4, 4096, noise_of(10));
    for (std::size_t length = 0; length <= bytes.size(); ++length) {
      CAPTURE(length);
      frame_decoder decoder(wire_side::server);
      decoder.set_block_bytes(4096);
      auto input = byte_view(bytes).first(length);
      while (!input.empty()) (void)decoder.feed(input);
      CHECK(decoder.at_boundary() == (length == 0 || length == bytes.size()));
    }
  }

  TEST_CASE("each side accepts the kinds that are for it, and no others") {
    for (unsigned kind = 0; kind < 256; ++kind) {
      CAPTURE(kind);
      auto const bytes = header_of(0, kind);
      bool const for_server = kind >= 1 && kind <= 8;
      bool const for_agent = kind == 7 || (kind >= 64 && kind <= 70);
      CHECK((decoder_code(wire_side::server, bytes, 4096) == wire_errc::unknown_kind) ==
            !for_server);
      CHECK((decoder_code(wire_side::agent, bytes) == wire_errc::unknown_kind) == !for_agent);
    }
  }

  TEST_CASE("a length above the bound of its kind is refused at the header") {
    for (unsigned const kind : {1, 2, 3, 5, 6, 7, 8}) {
      CAPTURE(kind);
      CHECK(decoder_code(wire_side::server, header_of(~0U, kind)) == wire_errc::frame_too_long);
      CHECK(decoder_code(wire_side::server, header_of(limits::control_payload_bytes_max + 1,
                                                      kind)) == wire_errc::frame_too_long);
    }
    for (unsigned const kind : {7, 64, 65, 66, 67, 68, 69, 70}) {
      CAPTURE(kind);
      CHECK(decoder_code(wire_side::agent, header_of(limits::control_payload_bytes_max, kind)) ==
            wire_errc::frame_too_long);
    }
    auto const block_bytes_max = std::uint32_t{limits::block_header_bytes + 4096};
    CHECK_FALSE(decoder_code(wire_side::server, header_of(block_bytes_max, 4), 4096));
    CHECK(decoder_code(wire_side::server, header_of(block_bytes_max + 1, 4), 4096) ==
          wire_errc::frame_too_long);
  }

  TEST_CASE("the largest message of each kind fits its bound") {
    digests_message digests;
    for (unsigned i = 0; i < limits::digest_runs_max; ++i) {
      digests.runs.push_back(data_run(sample_id(i)));
    }
    auto hello = sample_hello();
    hello.build.assign(limits::build_bytes_max, 'b');
    std::string const text(limits::note_bytes_max, 't');
    for (auto const& bytes :
         {encoded(hello), encoded(digests), encoded(note_message{1, text}),
          encoded(abort_message{.text = text}), encoded(end_message{}),
          encoded(bad_range_message{0, 1}),
          encoded(source_message{.identity = std::string(limits::identity_bytes_max, 'i')})}) {
      CHECK_FALSE(decoder_code(wire_side::server, bytes));
    }
    auto start = sample_start();
    start.path.assign(limits::path_bytes_max, 'p');
    std::vector<verdict> const verdicts(limits::answers_max, verdict::need);
    std::vector<block_id> const ids(limits::expected_ids_max);
    for (auto const& bytes :
         {encoded(start), encoded(answer_message{{0}, verdicts}), encoded(expect_message{{0}, ids}),
          encoded(settle_message{}), encoded(abort_message{.text = text})}) {
      CHECK_FALSE(decoder_code(wire_side::agent, bytes));
    }
  }

  TEST_CASE("a BLOCK is refused before the block size is known, and with lengths that cannot be") {
    auto const raw = noise_of(4097);
    auto const of = [&](block_codec codec, std::uint32_t raw_bytes, std::size_t payload_bytes) {
      return decoder_code(wire_side::server,
                          block_frame(0, codec, raw_bytes, byte_view(raw).first(payload_bytes)),
                          4096);
    };
    CHECK(decoder_code(wire_side::server, block_frame(0, block_codec::raw, 1, noise_of(1))) ==
          wire_errc::out_of_order);
    CHECK_FALSE(of(block_codec::raw, 4096, 4096));
    CHECK_FALSE(of(block_codec::lz4, 4096, 4096));
    CHECK(of(block_codec::raw, 4096, 0) == wire_errc::malformed);
    CHECK(of(block_codec::raw, 4096, 4095) == wire_errc::malformed);
    CHECK(of(block_codec::raw, 4096, 4097) == wire_errc::frame_too_long);
    CHECK(of(block_codec::lz4, 4095, 4096) == wire_errc::frame_too_long);
    CHECK(of(block_codec::lz4, 4097, 100) == wire_errc::malformed);
    CHECK(of(static_cast<block_codec>(3), 4096, 100) == wire_errc::malformed);
    CHECK(decoder_code(wire_side::server, header_of(5, 4), 4096) == wire_errc::malformed);
  }
}

TEST_SUITE("hello_scanner") {
  TEST_CASE("HELLO is found behind nothing, and behind noise, however the bytes are cut") {
    auto const hello = encoded(sample_hello());
    auto const rest = encoded(note_message{1, "next"});
    for (std::size_t const noise_bytes : {0, 1, 4, 5, 21, 5000, 65536}) {
      auto const noise = noise_of(noise_bytes);
      auto const bytes = joined({noise, hello, rest});
      for (std::size_t const step : {1, 3, 16, 21, 4096, 1000000}) {
        CAPTURE(noise_bytes);
        CAPTURE(step);
        hello_scanner scanner(sample_nonce());
        std::size_t at = 0;
        bool found = false;
        while (!found && at < bytes.size()) {
          auto const count = std::min(step, bytes.size() - at);
          auto piece = byte_view(bytes).subspan(at, count);
          found = scanner.feed(piece);
          at += count - piece.size();
        }
        REQUIRE(found);
        // Header and nonce, and not a byte more: the rest is left to the caller.
        CHECK(at == noise_bytes + limits::frame_header_bytes + 16);
        CHECK(std::equal(noise.begin(), noise.end(), scanner.noise().begin()));
        CHECK(scanner.noise().size() == noise_bytes);
        auto const seen = scanner.found();
        CHECK(seen.size() == limits::frame_header_bytes + 16);
        CHECK(std::equal(seen.begin(), seen.end(), hello.begin()));
      }
    }
  }

  TEST_CASE("near-nonces, the nonce's hex and a nonce without a HELLO's header are noise") {
    auto const nonce = sample_nonce();
    byte_vector noise;
    // All but the last byte, twice; then one byte wrong; then as text.
    append_bytes(noise, byte_view(nonce).first(15));
    append_bytes(noise, byte_view(nonce).first(15));
    auto wrong = nonce;
    wrong[8] ^= std::byte{1};
    append_bytes(noise, wrong);
    append_bytes(noise, as_bytes(nonce_hex(nonce)));
    // The nonce behind a header of another kind, of an absurd length, of a length too short.
    append_bytes(noise, header_of(100, 2));
    append_bytes(noise, nonce);
    append_bytes(noise, header_of(1 << 20, 1));
    append_bytes(noise, nonce);
    append_bytes(noise, header_of(15, 1));
    append_bytes(noise, nonce);
    auto const bytes = joined({noise, encoded(sample_hello())});
    for (std::size_t const step : {1, 7, 100000}) {
      CAPTURE(step);
      hello_scanner scanner(nonce);
      bool found = false;
      for (std::size_t at = 0; at < bytes.size() && !found; at += step) {
        auto piece = byte_view(bytes).subspan(at, std::min(step, bytes.size() - at));
        found = scanner.feed(piece);
      }
      CHECK(found);
      CHECK(scanner.noise().size() == noise.size());
    }
  }

  TEST_CASE("a nonce in the very first bytes, without a header, is noise") {
    hello_scanner scanner(sample_nonce());
    auto const nonce = sample_nonce();
    byte_view input(nonce);
    CHECK_FALSE(scanner.feed(input));
    CHECK(input.empty());
    auto const hello = encoded(sample_hello());
    input = hello;
    CHECK(scanner.feed(input));
  }

  TEST_CASE("more noise than the bound is refused, with its end shown and made harmless") {
    auto const tail = std::string("\x1b[31mPermission denied");
    auto noise = noise_of(limits::login_noise_bytes_max + 21 - tail.size());
    append_bytes(noise, as_bytes(tail));
    for (std::size_t const step : {std::size_t{1}, std::size_t{1000}, noise.size()}) {
      CAPTURE(step);
      hello_scanner scanner(sample_nonce());
      auto const feed = [&] {
        for (std::size_t at = 0; at < noise.size(); at += step) {
          auto piece = byte_view(noise).subspan(at, std::min(step, noise.size() - at));
          (void)scanner.feed(piece);
        }
      };
      auto const text = text_of(feed);
      CHECK(text.find("\\x1b[31mPermission denied") != std::string::npos);
      CHECK(text.find('\x1b') == std::string::npos);
    }
    // One byte less is still within the bound.
    hello_scanner scanner(sample_nonce());
    auto input = byte_view(noise).first(noise.size() - 1);
    CHECK_FALSE(scanner.feed(input));
  }

  TEST_CASE("a HELLO behind more noise than the bound is not accepted") {
    auto const bytes =
        joined({noise_of(limits::login_noise_bytes_max + 1), encoded(sample_hello())});
    hello_scanner scanner(sample_nonce());
    byte_view input(bytes);
    CHECK(code_of([&] { (void)scanner.feed(input); }) == wire_errc::no_hello);
  }
}

}  // namespace diskdump
