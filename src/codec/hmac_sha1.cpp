#include "codec/hmac_sha1.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/assert.hpp"

namespace diskdump {

std::array<std::byte, 20> hmac_sha1(byte_view key, byte_view message) {
  std::array<std::byte, 20> digest{};
  unsigned size = digest.size();
  auto const* const made =
      ::HMAC(::EVP_sha1(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<unsigned char const*>(message.data()), message.size(),
             reinterpret_cast<unsigned char*>(digest.data()), &size);
  DISKDUMP_ASSERT(made != nullptr && size == digest.size());
  return digest;
}

}  // namespace diskdump
