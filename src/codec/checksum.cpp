#include "codec/checksum.hpp"

#include <xxhash.h>

namespace diskdump {

std::uint64_t checksum64(byte_view bytes) noexcept {
  return ::XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace diskdump
