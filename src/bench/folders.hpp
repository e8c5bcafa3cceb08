// The places where a benchmark writes. Each is taken away by its destructor with all that is in it,
// so that a benchmark that is interrupted leaves nothing either. Blocking; one thread at a time.
#pragma once

#include <cstdint>
#include <string>

#include "io/unique_fd.hpp"

namespace diskdump {

// DIR of a store that is measured: empty, or made here (its last part only), and locked against
// other benchmarks. At the end it is empty again, or gone if it was made here.
class store_folder {
 public:
  // Throws folder_not_empty, folder_busy, or what the system says of `path`. With `keep` all that
  // is in it at the end stays.
  store_folder(std::string path, bool keep);
  ~store_folder() { empty(); }
  store_folder(store_folder const&) = delete;
  store_folder& operator=(store_folder const&) = delete;

  [[nodiscard]] std::string const& path() const noexcept { return path_; }

  struct usage {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;  // that the file system gave them
  };
  [[nodiscard]] usage count() const;

 private:
  void empty() noexcept;

  std::string path_;
  bool keep_;
  bool made_ = false;
  unique_fd folder_;
};

// A new folder "diskdump-bench-XXXXXX" below `below`, for the images that are dumped.
class image_folder {
 public:
  explicit image_folder(std::string const& below);
  ~image_folder();
  image_folder(image_folder const&) = delete;
  image_folder& operator=(image_folder const&) = delete;

  [[nodiscard]] std::string const& path() const noexcept { return path_; }

 private:
  std::string path_;
};

// What a file of the file system of `folder` may still take. 0 where the system does not say.
[[nodiscard]] std::uint64_t room_bytes(std::string const& folder);
// Memory that programs may still take; 0 where the system does not say.
[[nodiscard]] std::uint64_t free_memory_bytes();

// Throws no_room where `needed_bytes` are more than there is at `path`.
void check_room(std::string const& path, std::uint64_t needed_bytes, std::string_view remedy);

}  // namespace diskdump
