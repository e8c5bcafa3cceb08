#include "codec/compress.hpp"

#include <libdeflate.h>
#include <lz4frame.h>

#include <algorithm>
#include <new>

#include "base/assert.hpp"
#include "base/limits.hpp"

namespace diskdump {

namespace {

[[noreturn]] void refuse(codec_errc code, std::string_view cause) {
  throw error(code, severity::corruption).cause(cause);
}

// The sizes that LZ4's own blocks can have, up to 4 MiB (LZ4 Frame Format, BD byte).
constexpr std::size_t lz4_block_bytes_1 = 64 * 1024;
constexpr std::size_t lz4_block_bytes_2 = 256 * 1024;
constexpr std::size_t lz4_block_bytes_3 = 1024 * 1024;

// The smallest that takes it all.
LZ4F_blockSizeID_t lz4_block_for(std::size_t raw_bytes) noexcept {
  if (raw_bytes <= lz4_block_bytes_1) return LZ4F_max64KB;
  if (raw_bytes <= lz4_block_bytes_2) return LZ4F_max256KB;
  if (raw_bytes <= lz4_block_bytes_3) return LZ4F_max1MB;
  return LZ4F_max4MB;
}

// In one LZ4 block where that is possible, which takes an eighth less time than the linked blocks
// of 64 KiB of the original's frames and is as small (bench/README.md). The content size, no
// checksums (the block's SHA-256 is stronger). autoFlush: a frame is written in one call, so
// nothing is to be kept back.
LZ4F_preferences_t frame_preferences(std::size_t raw_bytes) noexcept {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockSizeID = lz4_block_for(raw_bytes);
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  preferences.frameInfo.contentSize = raw_bytes;
  preferences.autoFlush = 1;
  return preferences;
}

// The fastest that compresses; the next one takes half as long again for 4 % less
// (bench/README.md).
constexpr int zlib_level = 1;
// Before 1.19 libdeflate wants up to so many bytes more room than the stream takes.
constexpr std::size_t zlib_spare_bytes = 16;
// RFC 1950: the header, a DEFLATE stream, the content's Adler-32, big-endian.
constexpr std::size_t zlib_header_bytes = 2;
constexpr std::size_t zlib_checksum_bytes = 4;

// DEFLATE with a window of at most 32 KiB, no dictionary, and a multiple of 31 in all.
bool is_zlib_header(byte_view packed) noexcept {
  auto const method = std::to_integer<unsigned>(packed[0]);
  auto const flags = std::to_integer<unsigned>(packed[1]);
  return (method & 0xf) == 8 && method >> 4 <= 7 && (flags & 0x20) == 0 &&
         (method << 8 | flags) % 31 == 0;
}

// LZ4 Frame Format: magic (4 bytes), FLG, BD; bits 4–6 of BD are 4 for 64 KiB up to 7 for 4 MiB.
bool declares_large_blocks(byte_view frame) noexcept {
  return frame.size() > 5 && (std::to_integer<unsigned>(frame[5]) >> 4 & 7) > LZ4F_max256KB;
}

struct cctx_delete {
  void operator()(LZ4F_cctx* c) const noexcept { LZ4F_freeCompressionContext(c); }
};
struct dctx_delete {
  void operator()(LZ4F_dctx* d) const noexcept { LZ4F_freeDecompressionContext(d); }
};
struct deflate_delete {
  void operator()(libdeflate_compressor* c) const noexcept { libdeflate_free_compressor(c); }
};
struct inflate_delete {
  void operator()(libdeflate_decompressor* d) const noexcept { libdeflate_free_decompressor(d); }
};

}  // namespace

std::string_view sentence(codec_errc e) noexcept {
  switch (e) {
    case codec_errc::damaged:
      return "compressed data does not decode";
    case codec_errc::too_long:
      return "compressed data decodes to more bytes than the block has";
    case codec_errc::too_short:
      return "compressed data ends before the block is full";
  }
  return "unknown codec error";
}

std::size_t lz4_frame_bytes_max(std::size_t raw_bytes) noexcept {
  auto const preferences = frame_preferences(raw_bytes);
  return LZ4F_compressFrameBound(raw_bytes, &preferences);
}

// ---- Compression --------------------------------------------------------------------------------

// Contexts come into being on first use: an agent that never speaks zlib does not pay its 200 KiB.
struct block_compressor::state {
  std::unique_ptr<LZ4F_cctx, cctx_delete> lz4;
  std::unique_ptr<libdeflate_compressor, deflate_delete> deflate;

  LZ4F_cctx* lz4_context() {
    if (!lz4) {
      LZ4F_cctx* made = nullptr;
      if (LZ4F_isError(LZ4F_createCompressionContext(&made, LZ4F_VERSION))) throw std::bad_alloc();
      lz4.reset(made);
    }
    return lz4.get();
  }

  // Keeps nothing from one stream to the next.
  libdeflate_compressor* deflate_context() {
    if (!deflate) {
      deflate.reset(libdeflate_alloc_compressor(zlib_level));
      if (!deflate) throw std::bad_alloc();
    }
    return deflate.get();
  }
};

block_compressor::block_compressor() : state_(std::make_unique<state>()) {}
block_compressor::~block_compressor() = default;
block_compressor::block_compressor(block_compressor&&) noexcept = default;
block_compressor& block_compressor::operator=(block_compressor&&) noexcept = default;

std::size_t block_compressor::lz4_frame(byte_view raw, byte_span out) {
  DISKDUMP_ASSERT(out.size() >= lz4_frame_bytes_max(raw.size()));
  auto* const context = state_->lz4_context();
  auto const preferences = frame_preferences(raw.size());
  std::size_t used = 0;
  // compressBegin resets the context, so whatever went before does not matter. With a buffer of
  // lz4_frame_bytes_max none of the calls can fail for what `raw` holds.
  auto const add = [&used](std::size_t result) {
    DISKDUMP_ASSERT(!LZ4F_isError(result));
    used += result;
  };
  LZ4F_compressOptions_t options{};
  options.stableSrc = 1;
  add(LZ4F_compressBegin(context, out.data(), out.size(), &preferences));
  if (!raw.empty()) {
    add(LZ4F_compressUpdate(context, out.data() + used, out.size() - used, raw.data(), raw.size(),
                            &options));
  }
  add(LZ4F_compressEnd(context, out.data() + used, out.size() - used, &options));
  return used;
}

std::optional<std::size_t> block_compressor::zlib(byte_view raw, byte_span out) {
  auto* const context = state_->deflate_context();
  auto length = libdeflate_zlib_compress(context, raw.data(), raw.size(), out.data(), out.size());
  // It may have fitted but for the spare bytes. Where `out` is about as long as `raw` that saves
  // nothing, and an agent's blocks that do not shrink are not compressed twice. A shorter `out` is
  // another matter: once more, in memory that has the bytes.
  if (length == 0 && out.size() + zlib_spare_bytes < raw.size()) {
    byte_vector roomy(out.size() + zlib_spare_bytes);
    length = libdeflate_zlib_compress(context, raw.data(), raw.size(), roomy.data(), roomy.size());
    if (length > out.size()) length = 0;
    std::copy_n(roomy.begin(), length, out.begin());
  }
  if (length == 0) return std::nullopt;
  return length;
}

// ---- Decompression ------------------------------------------------------------------------------

struct block_decompressor::state {
  std::unique_ptr<LZ4F_dctx, dctx_delete> lz4;
  std::unique_ptr<libdeflate_decompressor, inflate_delete> inflate;

  LZ4F_dctx* lz4_context() {
    if (!lz4) {
      LZ4F_dctx* made = nullptr;
      if (LZ4F_isError(LZ4F_createDecompressionContext(&made, LZ4F_VERSION))) {
        throw std::bad_alloc();
      }
      lz4.reset(made);
    }
    // The one before may have ended in an error, in the middle of a frame.
    LZ4F_resetDecompressionContext(lz4.get());
    return lz4.get();
  }

  libdeflate_decompressor* inflate_context() {
    if (!inflate) {
      inflate.reset(libdeflate_alloc_decompressor());
      if (!inflate) throw std::bad_alloc();
    }
    return inflate.get();
  }

  std::size_t lz4_frame(byte_view packed, byte_span out);
  std::size_t zlib(byte_view packed, byte_span out);
};

// Once the buffer is full the decoder is asked for one byte more, into a scratch byte: a frame that
// has it is too long, and one that ends there proves it by its end mark.
std::size_t block_decompressor::state::lz4_frame(byte_view packed, byte_span out) {
  auto* const context = lz4_context();
  // A frame may declare LZ4 blocks of up to 4 MiB, for which the decoder takes 8 MiB. Those of
  // usual block sizes declare up to 256 KiB; what another one made it take is given back at once.
  struct give_back {
    state& self;
    bool wanted;
    ~give_back() {
      if (wanted) self.lz4.reset();
    }
  } const guard{*this, declares_large_blocks(packed)};
  LZ4F_decompressOptions_t options{};
  options.stableDst = 1;  // `out` is one piece and stays: it is its own dictionary
  static constexpr std::byte nothing{};
  std::byte scratch{};
  std::size_t taken = 0;
  std::size_t filled = 0;
  for (;;) {
    bool const full = filled == out.size();
    auto const* const from = packed.empty() ? &nothing : packed.data() + taken;
    std::size_t in = packed.size() - taken;
    std::size_t got = full ? 1 : out.size() - filled;
    auto const left =
        LZ4F_decompress(context, full ? &scratch : out.data() + filled, &got, from, &in, &options);
    if (LZ4F_isError(left)) refuse(codec_errc::damaged, LZ4F_getErrorName(left));
    if (full && got > 0) refuse(codec_errc::too_long, "");
    taken += in;
    filled += got;
    if (left == 0) break;
    // There was room for output, so a decoder that moves nothing waits for input.
    if (in == 0 && got == 0) refuse(codec_errc::too_short, "the frame is cut off");
  }
  if (taken != packed.size()) refuse(codec_errc::damaged, "bytes follow the end of the frame");
  return filled;
}

// libdeflate takes a stream as a whole and writes nothing beyond `out`. Header and checksum are
// read here: its own function for zlib streams keeps four bytes back for a checksum that may be
// missing, takes zeros for the rest, and calls a stream that is cut off there too long. A cut
// before that it does not tell from damage.
std::size_t block_decompressor::state::zlib(byte_view packed, byte_span out) {
  if (packed.size() < zlib_header_bytes + zlib_checksum_bytes) {
    refuse(codec_errc::too_short, "the stream is cut off");
  }
  if (!is_zlib_header(packed)) refuse(codec_errc::damaged, "not a zlib stream");
  auto const body = packed.subspan(zlib_header_bytes);
  std::size_t taken = 0;
  std::size_t filled = 0;
  auto const result = libdeflate_deflate_decompress_ex(inflate_context(), body.data(), body.size(),
                                                       out.data(), out.size(), &taken, &filled);
  if (result == LIBDEFLATE_INSUFFICIENT_SPACE) refuse(codec_errc::too_long, "");
  if (result != LIBDEFLATE_SUCCESS) refuse(codec_errc::damaged, "not a whole zlib stream");
  auto const end = body.subspan(taken);
  if (end.size() < zlib_checksum_bytes) refuse(codec_errc::too_short, "the stream is cut off");
  std::uint32_t checksum = 0;
  for (auto const b : end.first(zlib_checksum_bytes)) {
    checksum = checksum << 8 | std::to_integer<std::uint32_t>(b);
  }
  if (checksum != libdeflate_adler32(1, out.data(), filled)) {
    refuse(codec_errc::damaged, "the checksum is wrong");
  }
  if (end.size() > zlib_checksum_bytes) {
    refuse(codec_errc::damaged, "bytes follow the end of the stream");
  }
  return filled;
}

block_decompressor::block_decompressor() : state_(std::make_unique<state>()) {}
block_decompressor::~block_decompressor() = default;
block_decompressor::block_decompressor(block_decompressor&&) noexcept = default;
block_decompressor& block_decompressor::operator=(block_decompressor&&) noexcept = default;

void block_decompressor::decompress(block_codec codec, byte_view packed, byte_span raw) {
  std::size_t filled = 0;
  switch (codec) {
    case block_codec::raw:
      if (packed.size() > raw.size()) refuse(codec_errc::too_long, "");
      std::copy(packed.begin(), packed.end(), raw.begin());
      filled = packed.size();
      break;
    case block_codec::lz4:
      filled = state_->lz4_frame(packed, raw);
      break;
    case block_codec::zlib:
      filled = state_->zlib(packed, raw);
      break;
    default:
      refuse(codec_errc::damaged, "unknown codec");
  }
  if (filled != raw.size()) refuse(codec_errc::too_short, "");
}

std::size_t block_decompressor::lz4_frame(byte_view packed, byte_span out) {
  return state_->lz4_frame(packed, out);
}

}  // namespace diskdump
