#include "io/direct_buffer.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <new>

#include "base/limits.hpp"

namespace diskdump {

direct_buffer::direct_buffer()
    : memory_(static_cast<std::byte*>(
          std::aligned_alloc(limits::direct_write_alignment_bytes, limits::direct_write_bytes))) {
  if (!memory_) throw std::bad_alloc();
}

byte_span direct_buffer::bytes() noexcept { return {memory_.get(), limits::direct_write_bytes}; }

// Others refuse O_DIRECT, take a round trip for each write (NFS), or copy the data all the same
// (btrfs, ZFS).
bool gains_by_direct_writes(int file) noexcept {
  struct statfs status{};
  if (::fstatfs(file, &status) != 0) return false;
  auto const type = static_cast<unsigned long>(status.f_type);
  return type == EXT4_SUPER_MAGIC || type == XFS_SUPER_MAGIC;
}

}  // namespace diskdump
