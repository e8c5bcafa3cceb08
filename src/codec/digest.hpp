// SHA-256 through OpenSSL's low-level calls (SHA256_Init/Update/Final): the same assembly as EVP,
// which would add 4 MB to the static agent. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/bytes.hpp"
#include "codec/block_id.hpp"

namespace diskdump {

[[nodiscard]] block_id sha256(byte_view bytes) noexcept;

// The digest of each of these contents, in their order. Several of them take about half the time of
// one after the other where the processor can (sha256_lanes.hpp), best with as many as
// sha256_at_once. REQUIRES: as many ids as contents.
void sha256_each(std::span<byte_view const> contents, std::span<block_id> ids) noexcept;
inline constexpr std::size_t sha256_at_once = 4;

// Whether every byte is zero. Compares words, several times faster than hashing.
[[nodiscard]] bool is_zero(byte_view bytes) noexcept;

// The id of `length_bytes` zero bytes, computed by hashing them.
[[nodiscard]] block_id zero_block_id(std::uint32_t length_bytes);

// A running SHA-256, used for the digest over all block ids that END carries.
class sha256_stream {
 public:
  sha256_stream();
  ~sha256_stream();
  sha256_stream(sha256_stream&&) noexcept;
  sha256_stream& operator=(sha256_stream&&) noexcept;

  void update(byte_view bytes) noexcept;
  // The digest of everything so far; the stream may go on afterwards.
  [[nodiscard]] block_id value() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace diskdump
