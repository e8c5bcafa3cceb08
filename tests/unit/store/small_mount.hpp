// A small file system for tests that fill one.
#pragma once

#include <doctest/doctest.h>
#include <sys/mount.h>

#include <string>

#include "store_support.hpp"

namespace diskdump {

// A tmpfs of its own, where this user may mount one.
class small_mount {
 public:
  explicit small_mount(char const* options) {
    mounted_ = ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, options) == 0;
    if (!mounted_) MESSAGE("not run: this user may not mount a tmpfs");
  }
  ~small_mount() {
    if (mounted_) (void)::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  small_mount(small_mount const&) = delete;
  small_mount& operator=(small_mount const&) = delete;

  [[nodiscard]] bool mounted() const noexcept { return mounted_; }
  [[nodiscard]] std::string const& path() const noexcept { return folder_.path(); }
  void make_read_only() const {
    REQUIRE(::mount(nullptr, path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  }

 private:
  test_folder folder_;
  bool mounted_ = false;
};

}  // namespace diskdump
