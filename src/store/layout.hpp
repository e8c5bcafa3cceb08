// Where things are in a store, relative to the root of the file_system it is reached through, and
// the walk over its block files. Internal to src/store. FORMAT.md has the picture.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "codec/block_id.hpp"
#include "io/file_system.hpp"

namespace diskdump {

class store_layout {
 public:
  // `prefix` leads from the root of the file system to the content of .blockstore: "" or
  // ".blockstore/".
  explicit store_layout(std::string prefix) : prefix_(std::move(prefix)) {}

  [[nodiscard]] std::string in(std::string_view name) const { return prefix_ + std::string(name); }
  [[nodiscard]] std::string config() const { return in("config.json"); }
  [[nodiscard]] std::string block_folder(std::string_view hex) const;  // "ab/cd"
  [[nodiscard]] std::string block(std::string_view hex) const;         // "ab/cd/abcd….lz4"
  [[nodiscard]] std::string quarantine(std::string_view hex, unsigned copy) const;

 private:
  std::string prefix_;
};

// The id that a block file of this name has; nullopt for other files.
[[nodiscard]] std::optional<block_id> block_of_file(std::string_view name);

// The file system's folders of blocks: 65,536 of them, named by the first two bytes of a digest.
inline constexpr unsigned block_folders = 65536;
[[nodiscard]] inline unsigned folder_of(block_id const& id) noexcept {
  return std::to_integer<unsigned>(id.bytes[0]) << 8 | std::to_integer<unsigned>(id.bytes[1]);
}
// The smallest digest of a folder; of one behind the last, which is not there, all zeros.
[[nodiscard]] inline block_id first_of_folder(unsigned folder) noexcept {
  block_id id;
  id.bytes[0] = static_cast<std::byte>(folder >> 8);
  id.bytes[1] = static_cast<std::byte>(folder);
  return id;
}
using folder_filter = std::function<bool(unsigned folder)>;

struct block_file {
  block_id id;
  std::uint64_t stored_bytes = 0;  // with listing::sizes
  std::uint64_t inode = 0;
};

// Every block file of the folders from `first` up to `last` (not included), in ascending order of
// id and one folder in memory at a time. Files and folders that are none of ours are passed over,
// and those that are not `wanted`, if that is given.
void walk_block_files(file_system& files, store_layout const& layout, unsigned first, unsigned last,
                      listing detail, std::function<void(block_file const&)> const& each,
                      folder_filter const& wanted = {});

// The size of a block's file; 0 where there is none.
[[nodiscard]] std::uint64_t block_file_bytes(file_system& files, store_layout const& layout,
                                             block_id const& id);

}  // namespace diskdump
