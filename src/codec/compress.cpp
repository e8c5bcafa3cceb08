#include "codec/compress.hpp"

#include <lz4frame.h>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>

#include "base/assert.hpp"

namespace diskdump {

namespace {

[[noreturn]] void refuse(codec_errc code, std::string_view cause) {
  throw error(code, severity::corruption).cause(cause);
}

constexpr std::size_t lz4_block_bytes = 64 * 1024;

// What lz4.frame.compress of the original uses, so that frames look alike: 64 KiB
// blocks, linked where there are several, the content size, no checksums (the block's SHA-256 is
// stronger). autoFlush: a frame is written in one call, so nothing is to be kept back.
LZ4F_preferences_t frame_preferences(std::size_t raw_bytes) noexcept {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode =
      raw_bytes > lz4_block_bytes ? LZ4F_blockLinked : LZ4F_blockIndependent;
  preferences.frameInfo.contentSize = raw_bytes;
  preferences.autoFlush = 1;
  return preferences;
}

// zlib counts in 32 bits. A buffer of 4 GiB or more is far above any block.
uInt zlib_bytes(std::size_t bytes) noexcept {
  DISKDUMP_ASSERT(bytes <= std::numeric_limits<uInt>::max());
  return static_cast<uInt>(bytes);
}

Bytef* zlib_pointer(std::byte const* bytes) noexcept {
  // zlib does not write through next_in; its C interface just lacks the const.
  return reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes));
}

// LZ4 Frame Format: magic (4 bytes), FLG, BD; bits 4–6 of BD are 4 for 64 KiB up to 7 for 4 MiB.
bool declares_large_blocks(byte_view frame) noexcept {
  return frame.size() > 5 && (std::to_integer<unsigned>(frame[5]) >> 4 & 7) > LZ4F_max64KB;
}

struct cctx_delete {
  void operator()(LZ4F_cctx* c) const noexcept { LZ4F_freeCompressionContext(c); }
};
struct dctx_delete {
  void operator()(LZ4F_dctx* d) const noexcept { LZ4F_freeDecompressionContext(d); }
};
struct deflate_delete {
  void operator()(z_stream* z) const noexcept {
    deflateEnd(z);
    delete z;
  }
};
struct inflate_delete {
  void operator()(z_stream* z) const noexcept {
    inflateEnd(z);
    delete z;
  }
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

// Contexts come into being on first use: an agent that never speaks zlib does not pay its 268 KiB.
struct block_compressor::state {
  std::unique_ptr<LZ4F_cctx, cctx_delete> lz4;
  std::unique_ptr<z_stream, deflate_delete> deflate;

  LZ4F_cctx* lz4_context() {
    if (!lz4) {
      LZ4F_cctx* made = nullptr;
      if (LZ4F_isError(LZ4F_createCompressionContext(&made, LZ4F_VERSION))) throw std::bad_alloc();
      lz4.reset(made);
    }
    return lz4.get();
  }

  z_stream& deflate_stream() {
    if (!deflate) {
      auto made = std::make_unique<z_stream>();
      if (deflateInit(made.get(), 1) != Z_OK) throw std::bad_alloc();
      deflate.reset(made.release());
    } else {
      deflateReset(deflate.get());
    }
    return *deflate;
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
  auto& stream = state_->deflate_stream();
  stream.next_in = zlib_pointer(raw.data());
  stream.avail_in = zlib_bytes(raw.size());
  stream.next_out = zlib_pointer(out.data());
  stream.avail_out = zlib_bytes(out.size());
  if (out.empty() || deflate(&stream, Z_FINISH) != Z_STREAM_END) return std::nullopt;
  return out.size() - stream.avail_out;
}

// ---- Decompression ------------------------------------------------------------------------------

// Both decoders are asked for one byte more than fits, into a scratch byte, once the buffer is
// full: a stream that has it is too long, and one that ends there proves it by its end mark.
struct block_decompressor::state {
  std::unique_ptr<LZ4F_dctx, dctx_delete> lz4;
  std::unique_ptr<z_stream, inflate_delete> inflate;

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

  z_stream& inflate_stream() {
    if (!inflate) {
      auto made = std::make_unique<z_stream>();
      if (inflateInit(made.get()) != Z_OK) throw std::bad_alloc();
      inflate.reset(made.release());
    } else {
      inflateReset(inflate.get());
    }
    return *inflate;
  }

  std::size_t lz4_frame(byte_view packed, byte_span out);
  std::size_t zlib(byte_view packed, byte_span out);
};

std::size_t block_decompressor::state::lz4_frame(byte_view packed, byte_span out) {
  auto* const context = lz4_context();
  // A frame may declare LZ4 blocks of up to 4 MiB, for which the decoder takes 8 MiB. Ours and the
  // original's declare 64 KiB; what another one made it take is given back at once.
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

std::size_t block_decompressor::state::zlib(byte_view packed, byte_span out) {
  auto& stream = inflate_stream();
  std::byte scratch{};
  stream.next_in = zlib_pointer(packed.data());
  stream.avail_in = zlib_bytes(packed.size());
  stream.next_out = zlib_pointer(out.data());
  stream.avail_out = zlib_bytes(out.size());
  bool full = out.empty();
  if (full) {
    stream.next_out = zlib_pointer(&scratch);
    stream.avail_out = 1;
  }
  for (;;) {
    int const result = ::inflate(&stream, Z_NO_FLUSH);
    if (full && stream.avail_out == 0) refuse(codec_errc::too_long, "");
    if (result == Z_STREAM_END) break;
    if (result == Z_MEM_ERROR) throw std::bad_alloc();
    if (result != Z_OK && result != Z_BUF_ERROR) {
      refuse(codec_errc::damaged, stream.msg != nullptr ? stream.msg : "not a zlib stream");
    }
    if (stream.avail_out > 0) refuse(codec_errc::too_short, "the stream is cut off");
    full = true;
    stream.next_out = zlib_pointer(&scratch);
    stream.avail_out = 1;
  }
  if (stream.avail_in > 0) refuse(codec_errc::damaged, "bytes follow the end of the stream");
  return full ? out.size() : out.size() - stream.avail_out;
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
