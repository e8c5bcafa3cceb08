#include "codec/digest.hpp"

// SHA256_* are marked deprecated in OpenSSL 3 in favour of EVP; see the header for why they stay.
#define OPENSSL_SUPPRESS_DEPRECATED 1
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/assert.hpp"
#include "codec/sha256_lanes.hpp"

namespace diskdump {

block_id sha256(byte_view bytes) noexcept {
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, bytes.data(), bytes.size());
  block_id id;
  SHA256_Final(reinterpret_cast<unsigned char*>(id.bytes.data()), &context);
  return id;
}

void sha256_each(std::span<byte_view const> contents, std::span<block_id> ids) noexcept {
  static_assert(sha256_at_once == sha256_lanes_max);
  DISKDUMP_ASSERT(contents.size() == ids.size());
  while (contents.size() > 1 && has_sha256_lanes()) {
    auto const some = std::min(contents.size(), sha256_lanes_max);
    sha256_side_by_side(contents.first(some), ids.first(some));
    contents = contents.subspan(some);
    ids = ids.subspan(some);
  }
  for (std::size_t i = 0; i < contents.size(); ++i) ids[i] = sha256(contents[i]);
}

bool is_zero(byte_view bytes) noexcept {
  if (bytes.empty()) return true;
  // A buffer is zero when its first byte is and every byte equals the one before it; memcmp does
  // that at memory speed. The first bytes decide for nearly all data blocks.
  std::size_t const head = bytes.size() < 64 ? bytes.size() : 64;
  for (std::size_t i = 0; i < head; ++i) {
    if (bytes[i] != std::byte{0}) return false;
  }
  return bytes.size() == head ||
         std::memcmp(bytes.data(), bytes.data() + head, bytes.size() - head) == 0;
}

namespace {

// Zeros are hashed from a buffer that fits the caches, not from one as large as a block.
constexpr std::size_t zero_chunk_bytes = 64 * 1024;

}  // namespace

block_id zero_block_id(std::uint32_t length_bytes) {
  std::vector<std::byte> const chunk(zero_chunk_bytes);
  sha256_stream hash;
  for (std::uint32_t left = length_bytes; left > 0;) {
    auto const n = std::min<std::size_t>(left, chunk.size());
    hash.update(byte_view(chunk).first(n));
    left -= static_cast<std::uint32_t>(n);
  }
  return hash.value();
}

struct sha256_stream::state {
  SHA256_CTX context;
};

sha256_stream::sha256_stream() : state_(std::make_unique<state>()) {
  SHA256_Init(&state_->context);
}
sha256_stream::~sha256_stream() = default;
sha256_stream::sha256_stream(sha256_stream&&) noexcept = default;
sha256_stream& sha256_stream::operator=(sha256_stream&&) noexcept = default;

void sha256_stream::update(byte_view bytes) noexcept {
  SHA256_Update(&state_->context, bytes.data(), bytes.size());
}

block_id sha256_stream::value() const noexcept {
  auto copy = state_->context;
  block_id id;
  SHA256_Final(reinterpret_cast<unsigned char*>(id.bytes.data()), &copy);
  return id;
}

}  // namespace diskdump
