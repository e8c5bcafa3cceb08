// Reads of a pack, large where the next ones lie close by. One thread at a time. Internal to
// src/store.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.hpp"
#include "io/file_system.hpp"

namespace diskdump {

class pack_window {
 public:
  // `files` outlives this object.
  pack_window(file_system& files, std::string path) : files_(files), path_(std::move(path)) {}

  // The bytes from `offset_bytes` on, fewer than `bytes` only at the end of the
  // file, none where there is no file. `ahead_bytes` may be read at once, if
  // they are not there yet and no bad sector is among them. Valid until the
  // next call. Throws what reading throws.
  [[nodiscard]] byte_view view(std::uint64_t offset_bytes, std::size_t bytes,
                               std::size_t ahead_bytes);

  [[nodiscard]] bool exists();

 private:
  [[nodiscard]] std::optional<byte_vector> read(std::uint64_t offset_bytes, std::size_t bytes,
                                                std::size_t ahead_bytes);

  file_system& files_;
  std::string path_;
  std::uint64_t not_ahead_until_ = 0;  // a bad sector lies before it
  std::uint64_t begin_ = 0;
  byte_vector bytes_;
};

}  // namespace diskdump
