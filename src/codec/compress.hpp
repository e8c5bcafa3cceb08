// Compression of single blocks as pure functions. A `block_compressor` and a `block_decompressor`
// hold reusable contexts: one per worker thread, not shared. Output is bounded by the caller's
// buffer and never grows past it, so a decompression bomb ends at the block size.
//
// LZ4 frames are as `lz4.frame.compress` of the original writes and reads them (LZ4 Frame Format
// 1.6: content size present, block size by content, no checksums needed to be read). zlib streams
// are RFC 1950.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/bytes.hpp"
#include "base/error.hpp"

namespace diskdump {

// As it stands in a BLOCK frame. Numbers are never reused.
enum class block_codec : std::uint8_t { raw = 0, lz4 = 1, zlib = 2 };

enum class codec_errc {
  damaged = 1,  // the stream does not decode
  too_long,     // it decodes to more bytes than the block has
  too_short,    // it ends before the block is full
};
[[nodiscard]] std::string_view sentence(codec_errc e) noexcept;
[[nodiscard]] inline char const* module_name(codec_errc) noexcept { return "codec"; }

// The most bytes that lz4_frame of `raw_bytes` can take.
[[nodiscard]] std::size_t lz4_frame_bytes_max(std::size_t raw_bytes) noexcept;

class block_compressor {
 public:
  block_compressor();
  ~block_compressor();
  block_compressor(block_compressor&&) noexcept;
  block_compressor& operator=(block_compressor&&) noexcept;

  // Writes one LZ4 frame for `raw` to `out` and returns its length.
  // REQUIRES: out.size() >= lz4_frame_bytes_max(raw.size()).
  std::size_t lz4_frame(byte_view raw, byte_span out);

  // Writes a zlib stream to `out`; nullopt where it does not fit (it does not shrink). Unless `out`
  // is shorter than `raw` by more than 16 bytes, so may be one that would leave fewer of it free.
  std::optional<std::size_t> zlib(byte_view raw, byte_span out);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

class block_decompressor {
 public:
  block_decompressor();
  ~block_decompressor();
  block_decompressor(block_decompressor&&) noexcept;
  block_decompressor& operator=(block_decompressor&&) noexcept;

  // Fills exactly `raw` from `packed`; throws codec_errc (severity corruption) where the stream
  // is damaged, yields more or fewer bytes, or has bytes after its end. For codec raw the lengths
  // must be equal and the bytes are copied.
  void decompress(block_codec codec, byte_view packed, byte_span raw);

  // Decodes one LZ4 frame of unknown length, at most out.size() bytes; returns the length. Used
  // where the stored block may be longer than the image needs.
  std::size_t lz4_frame(byte_view packed, byte_span out);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace diskdump

template <>
struct std::is_error_code_enum<diskdump::codec_errc> : std::true_type {};
