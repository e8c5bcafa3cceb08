#include "io/disk_file.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/assert.hpp"
#include "base/format.hpp"
#include "base/limits.hpp"
#include "io/device_info.hpp"

namespace diskdump {

buffer_cursor::buffer_cursor(std::span<byte_span const> buffers) {
  vectors_.reserve(buffers.size());
  for (auto const& b : buffers) {
    if (b.empty()) continue;
    vectors_.push_back(iovec{.iov_base = b.data(), .iov_len = b.size()});
    left_bytes_ += b.size();
  }
}

void buffer_cursor::advance(std::size_t bytes) noexcept {
  DISKDUMP_ASSERT(bytes <= left_bytes_);
  left_bytes_ -= bytes;
  while (bytes > 0) {
    auto& v = vectors_[first_];
    auto const n = std::min(bytes, v.iov_len);
    v.iov_base = static_cast<std::byte*>(v.iov_base) + n;
    v.iov_len -= n;
    bytes -= n;
    if (v.iov_len == 0) ++first_;
  }
}

void disk_file::check_read(std::uint64_t offset_bytes, std::span<byte_span const> buffers) const {
  DISKDUMP_ASSERT(buffers.size() <= limits::disk_buffers_max);
  auto const a = properties.alignment_bytes;
  DISKDUMP_ASSERT(offset_bytes % a == 0);
  for (auto const& b : buffers) {
    DISKDUMP_ASSERT(b.size() % a == 0);
    DISKDUMP_ASSERT(reinterpret_cast<std::uintptr_t>(b.data()) % a == 0);
  }
}

void disk_file::check_write(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
  auto const a = properties.alignment_bytes;
  DISKDUMP_ASSERT(offset_bytes % a == 0 && length_bytes % a == 0);
  if (offset_bytes > properties.size_bytes || length_bytes > properties.size_bytes - offset_bytes) {
    throw error(io_errc::out_of_range, severity::permanent)
        .path(path)
        .offset(offset_bytes)
        .cause(format("it holds {} bytes", properties.size_bytes));
  }
}

// Short reads happen in the middle of a file as well (signals, page cache); with O_DIRECT one that
// ends off the alignment is the end.
bool disk_file::is_read_to_end(std::uint64_t offset_bytes, std::size_t done_bytes) const {
  return done_bytes % properties.alignment_bytes != 0 ||
         offset_bytes + done_bytes == properties.size_bytes;
}

data_range disk_file::next_data(std::uint64_t offset_bytes) const {
  auto const size_bytes = properties.size_bytes;
  if (offset_bytes >= size_bytes) return {offset_bytes, 0};
  data_range const rest{offset_bytes, size_bytes - offset_bytes};
  if (properties.block_device) return rest;
  auto const data = ::lseek(fd.get(), static_cast<off_t>(offset_bytes), SEEK_DATA);
  if (data < 0) return errno == ENXIO ? data_range{offset_bytes, 0} : rest;
  auto const first = static_cast<std::uint64_t>(data);
  if (first >= size_bytes) return {offset_bytes, 0};  // it grew meanwhile
  auto const hole = ::lseek(fd.get(), data, SEEK_HOLE);
  auto const end = hole <= data ? size_bytes : std::min<std::uint64_t>(size_bytes, hole);
  return {first, end - first};
}

bool disk_file::write_zeros(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
  check_write(offset_bytes, length_bytes);
  if (length_bytes == 0) return true;
  int failed_with = 0;
  if (properties.block_device) {
    std::uint64_t range[2] = {offset_bytes, length_bytes};
    if (::ioctl(fd.get(), BLKZEROOUT, &range) == 0) return true;
    failed_with = errno;
  } else {
    int done = 0;
    do {
      done = ::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         static_cast<off_t>(offset_bytes), static_cast<off_t>(length_bytes));
    } while (done != 0 && errno == EINTR);
    if (done == 0) return true;
    failed_with = errno;
  }
  switch (failed_with) {
    case EOPNOTSUPP:
    case ENOSYS:
    case EINVAL:  // BLKZEROOUT of a range that is not made of whole sectors
    case ENOTTY:
    case EPERM:
      return false;
    default:
      throw failed(failed_with, io_direction::write, "zero a range").offset(offset_bytes);
  }
}

void disk_file::sync() const {
  if (::fdatasync(fd.get()) != 0) throw failed(errno, io_direction::write, "fdatasync");
}

namespace {

// Some systems take O_DIRECT at open() and refuse it at the first read.
bool direct_read_works(int fd, std::uint32_t alignment_bytes) {
  void* const memory = std::aligned_alloc(alignment_bytes, alignment_bytes);
  if (memory == nullptr) return false;
  auto const n = ::pread(fd, memory, alignment_bytes, 0);
  bool const refused = n < 0 && errno == EINVAL;
  std::free(memory);
  return !refused;
}

int open_retrying(char const* path, int flags) {
  int fd = -1;
  do {
    fd = ::open(path, flags | O_CLOEXEC | O_NOCTTY);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

void describe_device(disk_file& file, bool direct) {
  auto const info = query_device(file.fd.get(), file.path);
  if (info.size_bytes == 0) {
    throw error(io_errc::no_medium, severity::permanent)
        .path(file.path)
        .cause("its size is zero")
        .remedy("insert a medium or set the device up");
  }
  auto& p = file.properties;
  p.block_device = true;
  p.size_bytes = info.size_bytes;
  // A request for less than a physical sector cannot save its neighbour, but some devices call
  // much more than a sector that.
  p.sector_bytes = std::clamp(info.physical_sector_bytes, info.logical_sector_bytes,
                              std::max(info.logical_sector_bytes, 4096U));
  if (direct && direct_read_works(file.fd.get(), info.direct_alignment_bytes)) {
    p.direct_io = true;
    p.alignment_bytes = info.direct_alignment_bytes;
  } else if (direct) {
    int const flags = ::fcntl(file.fd.get(), F_GETFL);
    (void)::fcntl(file.fd.get(), F_SETFL, flags & ~O_DIRECT);
  }
}

}  // namespace

disk_file open_disk_file(std::string const& path, disk_open_options const& options) {
  bool const writing = options.access == disk_access::write;
  auto const direction = writing ? io_direction::write : io_direction::read;
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    throw disk_error(errno, io_direction::open, "stat", path);
  }
  // Looked at before it is opened, because opening a tape or a watchdog already does something, and
  // again after, because the path may have changed; O_NONBLOCK so that a FIFO does not wait.
  auto const refuse_other_types = [&path](struct stat const& s) {
    if (S_ISBLK(s.st_mode) || S_ISREG(s.st_mode)) return;
    throw error(S_ISDIR(s.st_mode) ? io_errc::is_directory : io_errc::unsupported_type,
                severity::permanent)
        .path(path)
        .remedy("name a block device or a regular file");
  };
  refuse_other_types(status);
  bool const device = S_ISBLK(status.st_mode);
  if (device && writing) refuse_if_in_use(path);

  // O_EXCL on a block device claims it: it fails while it is mounted, and mounting fails after.
  int const flags = (writing ? O_RDWR | (device ? O_EXCL : 0) : O_RDONLY) | O_NONBLOCK;
  bool direct = device && options.direct_io;
  disk_file file;
  file.path = path;
  if (direct) {
    file.fd = unique_fd(open_retrying(path.c_str(), flags | O_DIRECT));
    if (!file.fd && errno == EINVAL) direct = false;
  }
  if (!file.fd && !direct) file.fd = unique_fd(open_retrying(path.c_str(), flags));
  if (!file.fd) throw disk_error(errno, io_direction::open, "open", path);
  if (::fstat(file.fd.get(), &status) != 0) throw disk_error(errno, direction, "fstat", path);
  refuse_other_types(status);
  if (S_ISBLK(status.st_mode) != device) {
    throw error(io_errc::unsupported_type, severity::permanent)
        .path(path)
        .cause("it was replaced while it was being opened");
  }
  // O_NONBLOCK would come back as EAGAIN from io_uring.
  (void)::fcntl(file.fd.get(), F_SETFL, ::fcntl(file.fd.get(), F_GETFL) & ~O_NONBLOCK);

  if (device) {
    describe_device(file, direct);
  } else {
    file.properties.size_bytes = static_cast<std::uint64_t>(status.st_size);
    file.properties.sector_bytes = 4096;  // the page cache gives up a page for a bad sector
  }
  file.properties.identity = device_identity(status);
  return file;
}

disk_file create_disk_file(std::string const& path, std::uint64_t size_bytes) {
  disk_file file;
  file.path = path;
  do {
    file.fd = unique_fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  } while (!file.fd && errno == EINTR);
  if (!file.fd) throw disk_error(errno, io_direction::write, "create", path);
  struct stat status{};
  if (::ftruncate(file.fd.get(), static_cast<off_t>(size_bytes)) != 0 ||
      ::fstat(file.fd.get(), &status) != 0) {
    int const failed_with = errno;
    (void)::unlink(path.c_str());
    throw disk_error(failed_with, io_direction::write, "set the size", path)
        .cause(format("a file of {} bytes: {}", size_bytes,
                      std::generic_category().message(failed_with)));
  }
  file.properties.size_bytes = size_bytes;
  file.properties.sector_bytes = 4096;
  file.properties.identity = device_identity(status);
  return file;
}

}  // namespace diskdump
