// Stages that only the processor works at: digests, the zero scan, compression, and the ciphers of
// SSH.
#include <lz4.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "base/limits.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"
#include "stage_list.hpp"

namespace diskdump {

namespace {

constexpr std::size_t block_bytes = limits::block_bytes_default;
constexpr std::size_t packet_bytes = 32 * limits::KiB;  // what sshd puts into a packet
constexpr std::size_t cipher_bytes = 16;  // what libssh2 passes to the cipher at a time
constexpr std::size_t packets = 1024;

// For whatever is packed; the library wants more than a frame takes at most.
std::size_t packed_bytes_max() {
  return std::max(lz4_frame_bytes_max(block_bytes), std::size_t{LZ4_COMPRESSBOUND(block_bytes)});
}

template <class Byte>
char const* chars(Byte const* bytes) {
  return reinterpret_cast<char const*>(bytes);
}
template <class Byte>
char* chars(Byte* bytes) {
  return reinterpret_cast<char*>(bytes);
}

bool any_bit(byte_view bytes) {
  std::array<std::uint64_t, 8> sums{};
  for (std::size_t i = 0; i < bytes.size(); i += sizeof sums) {
    std::array<std::uint64_t, 8> words;
    std::memcpy(words.data(), bytes.data() + i, sizeof words);
    for (std::size_t k = 0; k < words.size(); ++k) sums[k] |= words[k];
  }
  return std::any_of(sums.begin(), sums.end(), [](auto sum) { return sum != 0; });
}

struct codec_data {
  explicit codec_data(std::vector<byte_vector> const& content) : blocks(content) {
    for (auto const& block : blocks) {
      out.resize(compressor.lz4_frame(block, out));
      frames.push_back(out);
      out.resize(packed_bytes_max());
      out.resize(pack_bare(block));
      bare.push_back(out);
      out.resize(packed_bytes_max());
      if (auto const length = compressor.zlib(block, byte_span(out).first(block_bytes))) {
        streams.emplace_back(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(*length));
      }
    }
  }
  std::size_t pack_bare(byte_view block) {
    return static_cast<std::size_t>(LZ4_compress_default(chars(block.data()), chars(out.data()),
                                                         static_cast<int>(block.size()),
                                                         static_cast<int>(out.size())));
  }

  std::vector<byte_vector> const& blocks;
  std::vector<byte_vector> frames;   // as the store holds them
  std::vector<byte_vector> bare;     // LZ4 without a frame
  std::vector<byte_vector> streams;  // zlib, of those that shrink
  byte_vector const zeros = byte_vector(block_bytes * 256);
  byte_vector out = byte_vector(packed_bytes_max());
  byte_vector copy = byte_vector(block_bytes * 256);
  block_compressor compressor;
  block_decompressor decompressor;
};

void add_digests(stage_list& stages, std::shared_ptr<codec_data> const& data) {
  auto const count = data->blocks.size();
  stages.add("memory copy", "", count, block_bytes, [data] {
    std::size_t at = 0;
    for (auto const& block : data->blocks) {
      std::memcpy(data->copy.data() + at, block.data(), block.size());
      at = (at + block.size()) % data->copy.size();
    }
  });
  stages.add("memory read", "", data->zeros.size() / block_bytes, block_bytes,
             [data] { keep(!any_bit(data->zeros)); });
  stages.add("OpenSSL SHA256", "", count, block_bytes, [data] {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
    for (auto const& block : data->blocks) {
      keep(::SHA256(reinterpret_cast<unsigned char const*>(block.data()), block.size(),
                    digest.data()) != nullptr);
    }
  });
  stages.add("digest", "OpenSSL SHA256", count, block_bytes, [data] {
    for (auto const& block : data->blocks) keep(sha256(block) != block_id{});
  });
  stages.add("digest, side by side", "OpenSSL SHA256", count, block_bytes, [data] {
    std::vector<byte_view> const blocks(data->blocks.begin(), data->blocks.end());
    std::vector<block_id> ids(blocks.size());
    sha256_each(blocks, ids);
    for (auto const& id : ids) keep(id != block_id{});
  });
  stages.add("zero scan of zeros", "memory read", data->zeros.size() / block_bytes, block_bytes,
             [data] {
               for (std::size_t at = 0; at < data->zeros.size(); at += block_bytes) {
                 keep(is_zero(byte_view(data->zeros).subspan(at, block_bytes)));
               }
             });
  stages.add("zero scan of data", "", count, 0, [data] {
    for (auto const& block : data->blocks) keep(!is_zero(block));
  });
}

void add_compression(stage_list& stages, std::shared_ptr<codec_data> const& data) {
  auto const count = data->blocks.size();
  stages.add("LZ4 library, compress", "", count, block_bytes, [data] {
    for (auto const& block : data->blocks) keep(data->pack_bare(block) > 0);
  });
  stages.add("lz4 compress", "LZ4 library, compress", count, block_bytes, [data] {
    for (auto const& block : data->blocks) keep(data->compressor.lz4_frame(block, data->out) > 0);
  });
  stages.add("LZ4 library, decompress", "", count, block_bytes, [data] {
    for (auto const& one : data->bare) {
      keep(LZ4_decompress_safe(chars(one.data()), chars(data->out.data()),
                               static_cast<int>(one.size()), static_cast<int>(data->out.size())) ==
           static_cast<int>(block_bytes));
    }
  });
  stages.add("lz4 decompress", "LZ4 library, decompress", count, block_bytes, [data] {
    for (auto const& one : data->frames) {
      keep(data->decompressor.lz4_frame(one, byte_span(data->out).first(block_bytes)) ==
           block_bytes);
    }
  });
  stages.add("zlib compress", "memory copy", count, block_bytes, [data] {
    for (auto const& block : data->blocks) {
      (void)data->compressor.zlib(block, byte_span(data->out).first(block_bytes));
    }
  });
  stages.add("zlib decompress", "memory copy", data->streams.size(), block_bytes, [data] {
    for (auto const& one : data->streams) {
      data->decompressor.decompress(block_codec::zlib, one,
                                    byte_span(data->out).first(block_bytes));
    }
  });
}

// aes128-ctr over packets, `step` bytes a call, and hmac-sha2-256 over each of them where wanted.
class packet_cipher {
 public:
  packet_cipher() {
    std::array<unsigned char, 32> const key{};
    keep(EVP_DecryptInit_ex(cipher_.get(), EVP_aes_128_ctr(), nullptr, key.data(), key.data()) ==
         1);
    std::string name = "SHA256";
    std::array<OSSL_PARAM, 2> const parameters{
        OSSL_PARAM{"digest", OSSL_PARAM_UTF8_STRING, name.data(), name.size(), 0},
        OSSL_PARAM{nullptr, 0, nullptr, 0, 0}};
    keep(EVP_MAC_init(mac_.get(), key.data(), key.size(), parameters.data()) == 1);
  }

  void run(std::size_t step, bool with_mac) {
    auto* const data = reinterpret_cast<unsigned char*>(packet_.data());
    for (std::size_t packet = 0; packet < packets; ++packet) {
      int length = 0;
      for (std::size_t at = 0; at < packet_bytes; at += step) {
        keep(EVP_DecryptUpdate(cipher_.get(), data + at, &length, data + at,
                               static_cast<int>(step)) == 1);
      }
      if (!with_mac) continue;
      std::array<unsigned char, 32> value;
      std::size_t got = 0;
      keep(EVP_MAC_init(mac_.get(), nullptr, 0, nullptr) == 1 &&
           EVP_MAC_update(mac_.get(), data, packet_bytes) == 1 &&
           EVP_MAC_final(mac_.get(), value.data(), &got, value.size()) == 1);
    }
  }

 private:
  byte_vector packet_ = byte_vector(packet_bytes);
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> cipher_{EVP_CIPHER_CTX_new(),
                                                                          &EVP_CIPHER_CTX_free};
  std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> algorithm_{
      EVP_MAC_fetch(nullptr, "HMAC", nullptr), &EVP_MAC_free};
  std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> mac_{EVP_MAC_CTX_new(algorithm_.get()),
                                                                 &EVP_MAC_CTX_free};
};

}  // namespace

void add_codec_stages(stage_list& stages, std::vector<byte_vector> const& blocks) {
  auto const data = std::make_shared<codec_data>(blocks);
  add_digests(stages, data);
  add_compression(stages, data);
}

void add_ssh_stages(stage_list& stages) {
  auto const cipher = std::make_shared<packet_cipher>();
  stages.add("aes128-ctr and hmac-sha2-256", "", packets, packet_bytes,
             [cipher] { cipher->run(packet_bytes, true); });
  stages.add("the same, 16 bytes a call", "aes128-ctr and hmac-sha2-256", packets, packet_bytes,
             [cipher] { cipher->run(cipher_bytes, true); });
  stages.add("aes128-ctr alone", "", packets, packet_bytes,
             [cipher] { cipher->run(packet_bytes, false); });
  stages.add("aes128-ctr alone, 16 bytes a call", "aes128-ctr alone", packets, packet_bytes,
             [cipher] { cipher->run(cipher_bytes, false); });
}

}  // namespace diskdump
