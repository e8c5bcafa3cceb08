#include "codec/compress.hpp"

#include <doctest/doctest.h>
#include <lz4frame.h>

#include <array>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <string>

#include "base/limits.hpp"
#include "codec/digest.hpp"

namespace diskdump {

namespace {

constexpr std::size_t block_bytes = 128 * 1024;

byte_vector random_bytes(std::size_t length, std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  byte_vector out(length);
  for (auto& b : out) b = static_cast<std::byte>(random());
  return out;
}

// Words out of a small vocabulary: shrinks to about a half, with matches across 64 KiB.
byte_vector text_bytes(std::size_t length, std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  byte_vector out;
  while (out.size() < length) append_bytes(out, as_bytes(std::to_string(random() % 5000) + " "));
  out.resize(length);
  return out;
}

byte_vector lz4_of(byte_view raw) {
  block_compressor compressor;
  byte_vector out(lz4_frame_bytes_max(raw.size()));
  out.resize(compressor.lz4_frame(raw, out));
  return out;
}

byte_vector zlib_of(byte_view raw) {
  block_compressor compressor;
  byte_vector out(raw.size() + 1024);
  out.resize(compressor.zlib(raw, out).value());
  return out;
}

byte_vector packed_as(block_codec codec, byte_view raw) {
  switch (codec) {
    case block_codec::lz4:
      return lz4_of(raw);
    case block_codec::zlib:
      return zlib_of(raw);
    case block_codec::raw:
      break;
  }
  return {raw.begin(), raw.end()};
}

// The code that decompression throws; no code where it succeeds.
std::error_code failure_of(block_codec codec, byte_view packed, byte_span raw) {
  block_decompressor decompressor;
  try {
    decompressor.decompress(codec, packed, raw);
    return {};
  } catch (error const& e) {
    CHECK(e.kind() == severity::corruption);
    return e.code();
  }
}

// A frame of zeros that are never in memory as a whole.
byte_vector lz4_bomb(std::size_t total_bytes, bool with_size) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockSizeID = LZ4F_max4MB;
  if (with_size) preferences.frameInfo.contentSize = total_bytes;
  byte_vector const zeros(4 * 1024 * 1024);
  byte_vector out(64);
  LZ4F_cctx* context = nullptr;
  REQUIRE_FALSE(LZ4F_isError(LZ4F_createCompressionContext(&context, LZ4F_VERSION)));
  out.resize(LZ4F_compressBegin(context, out.data(), out.size(), &preferences));
  byte_vector piece(LZ4F_compressBound(zeros.size(), &preferences));
  for (std::size_t done = 0; done < total_bytes; done += zeros.size()) {
    auto const n = LZ4F_compressUpdate(context, piece.data(), piece.size(), zeros.data(),
                                       zeros.size(), nullptr);
    REQUIRE_FALSE(LZ4F_isError(n));
    append_bytes(out, byte_view(piece).first(n));
  }
  auto const n = LZ4F_compressEnd(context, piece.data(), piece.size(), nullptr);
  REQUIRE_FALSE(LZ4F_isError(n));
  append_bytes(out, byte_view(piece).first(n));
  LZ4F_freeCompressionContext(context);
  return out;
}

byte_vector golden(std::string const& hex) {
  std::ifstream file(std::string(DISKDUMP_CODEC_GOLDEN) + "/" + hex + ".lz4", std::ios::binary);
  REQUIRE(file.good());
  std::string const text{std::istreambuf_iterator<char>(file), {}};
  auto const bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_SUITE("compress") {
  TEST_CASE("each codec gives back what it was given, for lengths around every edge") {
    block_compressor compressor;
    block_decompressor decompressor;
    for (std::size_t const length : {0, 1, 15, 4096, 65535, 65536, 65537, 131071, 131072, 300000}) {
      for (auto const& raw : {random_bytes(length), text_bytes(length), byte_vector(length)}) {
        CAPTURE(length);
        byte_vector packed(lz4_frame_bytes_max(length));
        packed.resize(compressor.lz4_frame(raw, packed));
        byte_vector back(length);
        decompressor.decompress(block_codec::lz4, packed, back);
        CHECK(back == raw);

        packed.assign(length + 1024, {});
        packed.resize(compressor.zlib(raw, packed).value());
        back.assign(length, {});
        decompressor.decompress(block_codec::zlib, packed, back);
        CHECK(back == raw);

        back.assign(length, {});
        decompressor.decompress(block_codec::raw, raw, back);
        CHECK(back == raw);
      }
    }
  }

  TEST_CASE("a frame is longer than what does not shrink by so much at most") {
    block_compressor compressor;
    for (std::size_t const length :
         {1UL, 4096UL, 65537UL, 4 * limits::MiB, 4 * limits::MiB + 1, 16 * limits::MiB}) {
      CAPTURE(length);
      auto const raw = random_bytes(length);
      byte_vector packed(lz4_frame_bytes_max(length));
      auto const n = compressor.lz4_frame(raw, packed);
      CHECK(n > length);
      CHECK(n <= length + limits::lz4_frame_added_bytes_max);
      if (length == limits::block_bytes_max) {
        CHECK(n == length + limits::lz4_frame_added_bytes_max);
      }
    }
  }

  TEST_CASE("a moved compressor and decompressor go on") {
    block_compressor first;
    auto second = std::move(first);
    auto const raw = text_bytes(1000);
    byte_vector packed(lz4_frame_bytes_max(raw.size()));
    packed.resize(second.lz4_frame(raw, packed));
    block_decompressor a;
    auto b = std::move(a);
    byte_vector back(raw.size());
    b.decompress(block_codec::lz4, packed, back);
    CHECK(back == raw);
  }

  TEST_CASE("zlib says nothing where the output does not fit, and works again afterwards") {
    block_compressor compressor;
    auto const raw = random_bytes(block_bytes);
    byte_vector out(block_bytes + 1024, std::byte{0xee});
    CHECK_FALSE(compressor.zlib(raw, byte_span(out).first(block_bytes)));
    CHECK(out[block_bytes] == std::byte{0xee});
    CHECK_FALSE(compressor.zlib(raw, byte_span(out).first(0)));
    CHECK_FALSE(compressor.zlib(raw, byte_span(out).first(1)));
    auto const text = text_bytes(block_bytes);
    auto const length = compressor.zlib(text, out);
    REQUIRE(length);
    CHECK(*length < block_bytes / 2);
    CHECK(compressor.zlib(text, byte_span(out).first(*length)) == length);
    CHECK_FALSE(compressor.zlib(text, byte_span(out).first(*length - 1)));
  }

  TEST_CASE("blocks that the original wrote are read, and ours have such a header") {
    struct sample {
      char const* id;
      std::size_t length;
    };
    // One byte, a whole block of zeros, and the last 5000 bytes of an image.
    for (auto const& [id, length] : {
             sample{"2d3193691934124461809fb9bc7e671215099fc7d961bfbe31943d40d477c890", 1},
             sample{"fa43239bcee7b97ca62f007cc68487560a39e19f74f3dde7486db3f98df8e471",
                    block_bytes},
             sample{"598e4eb74edb5f8431473813a69692338e9457d4913949df26aabbe26a3d92da", 5000},
         }) {
      CAPTURE(id);
      auto const packed = golden(id);
      block_decompressor decompressor;
      byte_vector raw(length);
      decompressor.decompress(block_codec::lz4, packed, raw);
      CHECK(sha256(raw).hex() == id);
      byte_vector roomy(block_bytes);
      CHECK(decompressor.lz4_frame(packed, roomy) == length);
      auto const ours = lz4_of(raw);
      CHECK(ours.size() <= packed.size());
      // Magic, flags, content size and header checksum are 15 bytes. Longer blocks are one LZ4
      // block instead of linked ones of 64 KiB.
      if (length <= 64 * limits::KiB) {
        CHECK(std::equal(ours.begin(), ours.begin() + 15, packed.begin()));
      } else {
        CHECK(std::to_integer<int>(ours[4]) == 0x68);    // version 1, independent, content size
        CHECK(std::to_integer<int>(ours[5]) == 5 << 4);  // up to 256 KiB
      }
    }
  }

  TEST_CASE("a stream that is cut off anywhere is refused") {
    auto const raw = text_bytes(70000);
    byte_vector back(raw.size());
    for (auto const codec : {block_codec::raw, block_codec::lz4, block_codec::zlib}) {
      auto const packed = packed_as(codec, raw);
      for (std::size_t length = 0; length < packed.size(); length += length < 40 ? 1 : 997) {
        CAPTURE(length);
        CHECK(failure_of(codec, byte_view(packed).first(length), back));
      }
      auto const code = failure_of(codec, byte_view(packed).first(packed.size() - 1), back);
      CHECK(code == codec_errc::too_short);
    }
  }

  TEST_CASE("bytes after the end of a stream are refused") {
    auto const raw = text_bytes(5000);
    byte_vector back(raw.size());
    for (auto const codec : {block_codec::lz4, block_codec::zlib}) {
      auto packed = packed_as(codec, raw);
      packed.push_back(std::byte{0});
      CHECK(failure_of(codec, packed, back) == codec_errc::damaged);
      // A second whole stream is as wrong as garbage.
      packed.pop_back();
      append_bytes(packed, packed_as(codec, raw));
      CHECK(failure_of(codec, packed, back) == codec_errc::damaged);
    }
    auto longer = raw;
    longer.push_back(std::byte{0});
    CHECK(failure_of(block_codec::raw, longer, back) == codec_errc::too_long);
  }

  TEST_CASE("a stream of another length than the block is refused, and writes within the block") {
    for (auto const codec : {block_codec::raw, block_codec::lz4, block_codec::zlib}) {
      auto const raw = text_bytes(70000);
      auto const packed = packed_as(codec, raw);
      byte_vector guarded(80000, std::byte{0xee});
      for (std::size_t const length : {0, 1, 65536, 69999}) {
        CAPTURE(length);
        CHECK(failure_of(codec, packed, byte_span(guarded).first(length)) == codec_errc::too_long);
        CHECK(guarded[length] == std::byte{0xee});
        guarded.assign(guarded.size(), std::byte{0xee});
      }
      CHECK(failure_of(codec, packed, byte_span(guarded).first(70001)) == codec_errc::too_short);
    }
  }

  TEST_CASE("a bomb of 1 GiB ends at the block, with and without a declared size") {
    constexpr std::size_t bomb_bytes = 1024 * 1024 * 1024;
    byte_vector guarded(block_bytes + 1, std::byte{0xee});
    for (bool const with_size : {false, true}) {
      auto const bomb = lz4_bomb(bomb_bytes, with_size);
      CHECK(failure_of(block_codec::lz4, bomb, byte_span(guarded).first(block_bytes)) ==
            codec_errc::too_long);
      CHECK(guarded[block_bytes] == std::byte{0xee});
    }
    auto const bomb = zlib_of(byte_vector(32 * 1024 * 1024));
    CHECK(failure_of(block_codec::zlib, bomb, byte_span(guarded).first(block_bytes)) ==
          codec_errc::too_long);
    CHECK(guarded[block_bytes] == std::byte{0xee});
  }

  TEST_CASE("flipped bits never write outside the block, and do not spoil the next stream") {
    auto const raw = text_bytes(3000);
    block_decompressor decompressor;
    byte_vector guarded(4000, std::byte{0xee});
    auto const block = byte_span(guarded).first(raw.size());
    for (auto const codec : {block_codec::lz4, block_codec::zlib}) {
      auto const packed = packed_as(codec, raw);
      std::size_t refused = 0;
      for (std::size_t bit = 0; bit < packed.size() * 8; bit += 3) {
        auto damaged = packed;
        damaged[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
        try {
          decompressor.decompress(codec, damaged, block);
        } catch (error const&) {
          ++refused;
        }
        REQUIRE(guarded[raw.size()] == std::byte{0xee});
      }
      CHECK(refused > 0);
      decompressor.decompress(codec, packed, block);
      CHECK(std::equal(raw.begin(), raw.end(), block.begin()));
    }
  }

  TEST_CASE("an empty input and random bytes are no stream") {
    byte_vector back(1000);
    for (auto const codec : {block_codec::lz4, block_codec::zlib}) {
      CHECK(failure_of(codec, {}, back) == codec_errc::too_short);
      CHECK(failure_of(codec, random_bytes(2000), back) == codec_errc::damaged);
    }
    CHECK(failure_of(static_cast<block_codec>(9), random_bytes(1000), back) == codec_errc::damaged);
  }

  TEST_CASE("a stream that zlib wrote is read, and only with the header and checksum that it has") {
    std::string text;
    while (text.size() < 320) text += "0 2919 3838 4757 676 1595 2514 3433 4352 ";
    text.resize(320);
    // zlib.compress of Python, level 1.
    constexpr std::array<unsigned char, 51> stream{
        0x78, 0x01, 0xed, 0xd0, 0x41, 0x01, 0x00, 0x20, 0x08, 0x04, 0xc1, 0x2a, 0x1b,
        0x41, 0x38, 0x4e, 0xa4, 0x7f, 0x31, 0x0b, 0x18, 0xc1, 0xff, 0xbc, 0x66, 0x91,
        0x13, 0x83, 0x8e, 0x0e, 0xd5, 0x6e, 0x76, 0x6f, 0xc2, 0x63, 0xd2, 0x51, 0xa8,
        0x24, 0x4a, 0x4e, 0xd6, 0x87, 0xaf, 0x9e, 0x0b, 0xa9, 0xeb, 0x3c, 0x0d};
    byte_vector const packed(std::as_bytes(std::span(stream)).begin(),
                             std::as_bytes(std::span(stream)).end());
    byte_vector back(text.size());
    CHECK_FALSE(failure_of(block_codec::zlib, packed, back));
    CHECK(as_text(back) == text);
    for (std::size_t const at : {std::size_t{0}, std::size_t{1}, packed.size() - 4,
                                 packed.size() - 3, packed.size() - 2, packed.size() - 1}) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        auto damaged = packed;
        damaged[at] ^= static_cast<std::byte>(1U << bit);
        CAPTURE(at);
        CHECK(failure_of(block_codec::zlib, damaged, back) == codec_errc::damaged);
      }
    }
    // Headers that are in order but for a window of 64 KiB, another method, a dictionary.
    for (unsigned const header : {0x881cU, 0x7918U, 0x78bbU}) {
      auto other = packed;
      other[0] = static_cast<std::byte>(header >> 8);
      other[1] = static_cast<std::byte>(header & 0xff);
      CAPTURE(header);
      CHECK(header % 31 == 0);
      CHECK(failure_of(block_codec::zlib, other, back) == codec_errc::damaged);
    }
    // Cut off within the checksum.
    for (std::size_t missing = 1; missing <= 4; ++missing) {
      CHECK(failure_of(block_codec::zlib, byte_view(packed).first(packed.size() - missing), back) ==
            codec_errc::too_short);
    }
  }

  TEST_CASE("a frame of unknown length is decoded up to the buffer") {
    auto const raw = text_bytes(5000);
    auto const packed = lz4_of(raw);
    block_decompressor decompressor;
    byte_vector out(6000);
    CHECK(decompressor.lz4_frame(packed, out) == raw.size());
    CHECK(std::equal(raw.begin(), raw.end(), out.begin()));
    CHECK_THROWS_AS((void)decompressor.lz4_frame(packed, byte_span(out).first(4999)), error);
  }
}

}  // namespace diskdump
