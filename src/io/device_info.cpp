#include "io/device_info.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/format.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "io/io_errc.hpp"
#include "io/system_file.hpp"

namespace diskdump {

namespace {

constexpr std::uint32_t alignment_bytes_max = 64 * 1024;

bool usable(std::uint32_t bytes) {
  return bytes >= 1 && bytes <= alignment_bytes_max && std::has_single_bit(bytes);
}

// The first line of a sysfs file, without blanks at its ends and with the unprintable escaped.
// vpd_pg80 is binary: four bytes of header, then the serial number.
std::string field(std::string const& path, std::size_t skip_bytes = 0) {
  auto text = read_system_file(path, limits::identity_field_bytes_max + skip_bytes);
  text.erase(0, skip_bytes);
  text.erase(std::min(text.find('\n'), text.size()));
  text.erase(0, text.find_first_not_of(" \t"));
  text.erase(text.find_last_not_of(std::string_view(" \t\0", 3)) + 1);
  std::replace(text.begin(), text.end(), ' ', '_');  // fields are separated by blanks
  return printable(text, limits::identity_field_bytes_max);
}

}  // namespace

device_info query_device(int fd, std::string const& path) {
  device_info info;
  if (::ioctl(fd, BLKGETSIZE64, &info.size_bytes) != 0) {
    throw disk_error(errno, io_direction::open, "BLKGETSIZE64", path);
  }
  int logical = 0;
  if (::ioctl(fd, BLKSSZGET, &logical) == 0 && usable(static_cast<std::uint32_t>(logical))) {
    info.logical_sector_bytes = static_cast<std::uint32_t>(logical);
    info.direct_alignment_bytes = info.logical_sector_bytes;
  }
  unsigned physical = 0;
  info.physical_sector_bytes = info.logical_sector_bytes;
  if (::ioctl(fd, BLKPBSZGET, &physical) == 0 && usable(physical)) {
    info.physical_sector_bytes = std::max(physical, info.logical_sector_bytes);
  }
#ifdef STATX_DIOALIGN  // kernel headers from 6.1 on; older ones go by the logical sector
  struct statx status{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
      (status.stx_mask & STATX_DIOALIGN) != 0 && usable(status.stx_dio_mem_align) &&
      usable(status.stx_dio_offset_align)) {
    info.direct_alignment_bytes = std::max(
        {status.stx_dio_mem_align, status.stx_dio_offset_align, info.logical_sector_bytes});
  }
#endif
  return info;
}

std::string device_identity(struct stat const& status) {
  if (!S_ISBLK(status.st_mode)) {
    return format("inode={} dev={}:{}", status.st_ino, major(status.st_dev), minor(status.st_dev));
  }
  auto const base = format("/sys/dev/block/{}:{}/", major(status.st_rdev), minor(status.st_rdev));
  struct source {
    char const* name;
    char const* file;
    std::size_t skip_bytes = 0;
  };
  // A partition has its own number and inherits serial and wwid from the disk above it.
  static constexpr source sources[] = {
      {"serial", "device/serial"},
      {"serial", "serial"},
      {"serial", "device/vpd_pg80", 4},
      {"serial", "../device/serial"},
      {"serial", "../serial"},
      {"wwid", "device/wwid"},
      {"wwid", "wwid"},
      {"wwid", "../device/wwid"},
      {"wwid", "../wwid"},
      {"model", "device/model"},
      {"model", "../device/model"},
      {"partition", "partition"},
      {"uuid", "dm/uuid"},
      {"uuid", "uuid"},
      {"name", "dm/name"},
      {"backing_file", "loop/backing_file"},
  };
  std::string identity = format("dev={}:{}", major(status.st_rdev), minor(status.st_rdev));
  for (auto const& s : sources) {
    auto const key = format(" {}=", s.name);
    if (identity.find(key) != std::string::npos) continue;
    auto const value = field(base + s.file, s.skip_bytes);
    if (value.empty() || identity.size() + key.size() + value.size() > limits::identity_bytes_max) {
      continue;
    }
    identity += key + value;
  }
  return identity;
}

}  // namespace diskdump
