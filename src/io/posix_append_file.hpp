// A file of the real file system that its maker adds to. Large pieces of one that is to be on the
// disk early go past the page cache, where the file system is known to be good at it: a copy into
// fresh pages costs several times the processor time, and other programs their pages. Internal to
// src/io.
#pragma once

#include <memory>
#include <string>

#include "io/direct_buffer.hpp"
#include "io/file_system.hpp"
#include "io/unique_fd.hpp"

namespace diskdump {

class posix_append_file final : public append_file {
 public:
  // `shown` is the path for messages. `direct` is the same file opened with O_DIRECT, or none;
  // `buffer` is there if it is.
  posix_append_file(unique_fd file, std::string shown, write_back when, unique_fd direct,
                    std::shared_ptr<direct_buffer> buffer)
      : file_(std::move(file)),
        shown_(std::move(shown)),
        when_(when),
        direct_(std::move(direct)),
        buffer_(std::move(buffer)) {}
  ~posix_append_file() override;
  posix_append_file(posix_append_file const&) = delete;
  posix_append_file& operator=(posix_append_file const&) = delete;

  void append(byte_view bytes) override;
  void reserve(std::uint64_t size_bytes) override;
  void sync() override;

 private:
  void write_buffered(byte_view bytes);
  [[nodiscard]] std::size_t write_direct(byte_view bytes);

  unique_fd file_;
  std::string shown_;
  write_back when_;
  unique_fd direct_;
  std::shared_ptr<direct_buffer> buffer_;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t reserved_bytes_ = 0;
};

// 0, or the errno: fallocate().
[[nodiscard]] int allocate_room(int file, int mode, std::uint64_t offset_bytes,
                                std::uint64_t bytes) noexcept;

}  // namespace diskdump
