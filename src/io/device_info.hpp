// What the system tells about an opened disk: size, sectors, alignment for O_DIRECT, identity.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

namespace diskdump {

struct device_info {
  std::uint64_t size_bytes = 0;
  std::uint32_t logical_sector_bytes = 512;
  std::uint32_t physical_sector_bytes = 512;
  std::uint32_t direct_alignment_bytes = 4096;  // of offset, length and memory with O_DIRECT
};

// Of an open block device. Throws `error` where its size cannot be told.
[[nodiscard]] device_info query_device(int fd, std::string const& path);

// "serial=… wwid=…" for a block device, "inode=… dev=…" for a file: printable, at most
// limits::identity_bytes_max bytes.
[[nodiscard]] std::string device_identity(struct stat const& status);

}  // namespace diskdump
