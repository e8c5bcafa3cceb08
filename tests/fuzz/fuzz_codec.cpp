// Feeds any bytes to the decompressors. The first byte of an input is the codec, the next two the
// length of the block. A decompressor fills the block or throws codec_errc; a write outside the
// block is found by the sanitizer, and by the guard bytes where there is none.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "codec/compress.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace diskdump;
  if (size < 3) return 0;
  static block_decompressor decompressor;
  auto const codec = static_cast<block_codec>(data[0] % 3);
  std::size_t const length = data[1] | data[2] << 8;
  auto const packed = std::as_bytes(std::span(data + 3, size - 3));
  byte_vector guarded(length + 16, std::byte{0xee});
  auto const block = byte_span(guarded).first(length);
  try {
    if (data[0] == 3) {
      if (decompressor.lz4_frame(packed, block) > length) std::abort();
    } else {
      decompressor.decompress(codec, packed, block);
    }
  } catch (error const& e) {
    if (e.code().category() != errc_category<codec_errc>()) std::abort();
  }
  for (auto const b : byte_view(guarded).last(16)) {
    if (b != std::byte{0xee}) std::abort();
  }
  return 0;
}
