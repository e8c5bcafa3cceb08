// SHA-256 through OpenSSL's low-level calls (SHA256_Init/Update/Final): the same assembly as EVP,
// which would add 4 MB to the static agent. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.hpp"
#include "codec/block_id.hpp"

namespace diskdump {

[[nodiscard]] block_id sha256(byte_view bytes) noexcept;

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
