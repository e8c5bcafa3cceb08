#include "agent/self.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/error.hpp"
#include "codec/digest.hpp"

namespace diskdump {

block_id self_digest() {
  int const fd = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw errno_error(errno, "open").path("/proc/self/exe");
  sha256_stream hash;
  constexpr std::size_t chunk_bytes = 1 << 16;
  std::array<std::byte, chunk_bytes> chunk;
  ssize_t got = 0;
  while ((got = ::read(fd, chunk.data(), chunk.size())) > 0) {
    hash.update(byte_view(chunk).first(static_cast<std::size_t>(got)));
  }
  int const failure = got < 0 ? errno : 0;
  ::close(fd);
  if (failure != 0) throw errno_error(failure, "read").path("/proc/self/exe");
  return hash.value();
}

}  // namespace diskdump
