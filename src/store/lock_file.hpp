// A file that its owner holds locked while it lives. The kernel drops the lock when the owner dies,
// however it dies, so that another process can tell a living owner from a stale file. Any thread;
// one at a time per object.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/unique_fd.hpp"

namespace diskdump {

// Whether lock_file::create() may have given a file this stem.
[[nodiscard]] bool is_unique_stem(std::string_view text) noexcept;

class lock_file {
 public:
  // Makes a new file below `folder` (made if need be) named PID-COUNTER-RANDOM + `suffix`, holding
  // `text` for people, and locks it. Throws cannot_write.
  [[nodiscard]] static lock_file create(std::string const& folder, std::string_view suffix,
                                        std::string_view text);

  // Takes over an existing file whose owner is dead; nullopt where the owner lives, or there is
  // no such file, or it may not be opened.
  [[nodiscard]] static std::optional<lock_file> take_stale(std::string const& path);

  // The lock on `path`, made if need be, if nobody holds it; the file stays afterwards. Throws
  // cannot_write.
  [[nodiscard]] static std::optional<lock_file> try_for(std::string const& path);

  // Waits for the lock on `path`, made if need be; the file stays afterwards. Throws cannot_write.
  [[nodiscard]] static lock_file wait_for(std::string const& path);

  lock_file(lock_file&&) noexcept = default;
  lock_file& operator=(lock_file&&) = delete;
  ~lock_file();  // removes the file (except after wait_for) and lets go of the lock

  [[nodiscard]] std::string const& path() const noexcept { return path_; }
  // The file name without its suffix, unique in its folder.
  [[nodiscard]] std::string const& stem() const noexcept { return stem_; }

 private:
  lock_file(unique_fd file, std::string path, std::string stem, bool remove_at_end)
      : file_(std::move(file)),
        path_(std::move(path)),
        stem_(std::move(stem)),
        remove_at_end_(remove_at_end) {}

  unique_fd file_;
  std::string path_;
  std::string stem_;
  bool remove_at_end_;
};

}  // namespace diskdump
