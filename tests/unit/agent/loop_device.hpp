// A loop device over a file, for the cases that need a real block device.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>

namespace diskdump {

// The exit status of a shell command, and what it printed.
inline std::pair<int, std::string> shell(std::string const& command) {
  FILE* const out = ::popen(command.c_str(), "r");
  REQUIRE(out != nullptr);
  std::string text;
  for (int c = std::fgetc(out); c != EOF; c = std::fgetc(out)) text += static_cast<char>(c);
  int const status = ::pclose(out);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text};
}

// Gone again with the object; `path` is empty where there can be none.
struct loop_device {
  std::string path;
  explicit loop_device(std::string const& file) {
    auto const [status, text] = shell("losetup -f --show '" + file + "' 2>/dev/null");
    if (status == 0) path = text.substr(0, text.find('\n'));
  }
  ~loop_device() {
    if (!path.empty()) shell("losetup -d " + path);
  }
  loop_device(loop_device const&) = delete;
  loop_device& operator=(loop_device const&) = delete;

  // What the kernel has read of it before is forgotten.
  void drop_cache() const {
    int const fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    CHECK(::ioctl(fd, BLKFLSBUF, 0) == 0);
    ::close(fd);
  }
  // Whether a byte can be read there.
  [[nodiscard]] bool reads(std::uint64_t offset_bytes) const {
    int const fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    char byte = 0;
    auto const got = ::pread(fd, &byte, 1, static_cast<off_t>(offset_bytes));
    ::close(fd);
    return got == 1;
  }
};

}  // namespace diskdump
