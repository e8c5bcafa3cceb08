// Shared by the store's tests: a folder that goes with the test, and blocks made from a number.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.hpp"
#include "codec/block_id.hpp"
#include "codec/compress.hpp"
#include "codec/digest.hpp"
#include "store/block_store.hpp"
#include "store/layout.hpp"  // before the function here that has the name of its block_file

namespace diskdump {

// In memory where the system has such a place: a barrier on a busy disk takes long.
inline std::string fast_temporary_path() {
  return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                         : std::filesystem::temp_directory_path().string();
}

class test_folder {
 public:
  explicit test_folder(std::string const& below = fast_temporary_path()) {
    std::string name = below + "/diskdump-store-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~test_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  test_folder(test_folder const&) = delete;
  test_folder& operator=(test_folder const&) = delete;

  [[nodiscard]] std::string const& path() const noexcept { return path_; }
  [[nodiscard]] std::string operator/(std::string_view name) const {
    return path_ + "/" + std::string(name);
  }

 private:
  std::string path_;
};

// A folder for a store whose .blockstore is on another file system than its images.
class divided_store_folder {
 public:
  divided_store_folder();

  [[nodiscard]] std::string const& path() const noexcept { return images_.path(); }
  [[nodiscard]] std::string operator/(std::string_view name) const { return images_ / name; }

 private:
  test_folder images_;
  test_folder elsewhere_{std::filesystem::temp_directory_path().string()};
};

struct test_block {
  byte_vector raw;
  byte_vector frame;
  block_id id;
};

inline byte_vector lz4_of(byte_view raw) {
  byte_vector frame(lz4_frame_bytes_max(raw.size()));
  block_compressor compressor;
  frame.resize(compressor.lz4_frame(raw, frame));
  return frame;
}

// 4 KiB that no other number gives, half of which compresses.
inline test_block make_block(std::uint64_t number, std::size_t bytes = 4096) {
  test_block block;
  block.raw.resize(bytes);
  std::uint64_t state = number * 0x9e3779b97f4a7c15ULL + 1;
  for (std::size_t i = 0; i < bytes / 2; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    block.raw[i] = static_cast<std::byte>(state >> 56);
  }
  block.frame = lz4_of(block.raw);
  block.id = sha256(block.raw);
  return block;
}

inline std::string block_file(std::string const& base, block_id const& id) {
  auto const hex = id.hex();
  return base + "/.blockstore/" + hex.substr(0, 2) + "/" + hex.substr(2, 2) + "/" + hex + ".lz4";
}

inline std::string read_text(std::string const& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_text(std::string const& path, std::string_view text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  REQUIRE(file.good());
}

// The error that `action` throws.
template <class Action>
error thrown_by(Action&& action) {
  try {
    action();
  } catch (error const& failure) {
    return failure;
  }
  FAIL("nothing was thrown");
  std::abort();
}

// Whether a thread of this process waits for something.
inline bool is_asleep(pid_t thread) {
  auto const status = read_text("/proc/self/task/" + std::to_string(thread) + "/stat");
  auto const name_end = status.rfind(')');
  return name_end != std::string::npos && status.compare(name_end, 4, ") S ") == 0;
}

// For the tests that hold for both formats.
inline constexpr store_format both_formats[] = {store_format::loose, store_format::pack};

inline std::unique_ptr<block_store> open_test_store(std::string const& base,
                                                    store_open_options options = {}) {
  if (!options.create_block_bytes && !options.read_only) options.create_block_bytes = 4096;
  return open_store(base, options);
}

inline divided_store_folder::divided_store_folder() {
  (void)open_test_store(path());
  auto const blockstore = images_ / ".blockstore";
  std::filesystem::copy(blockstore, elsewhere_ / "moved", std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(blockstore);
  std::filesystem::create_directory_symlink(elsewhere_ / "moved", blockstore);
}

inline void make_store(std::string const& base, store_format which) {
  (void)open_test_store(base, {.create_block_bytes = 4096, .create_format = which});
}

inline bool holds(block_store& store, block_id const& id) {
  return !store.missing(std::span(&id, 1))[0];
}

}  // namespace diskdump
