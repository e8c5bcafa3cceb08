#include "store/layout.hpp"

#include <algorithm>
#include <charconv>

#include "base/format.hpp"

namespace diskdump {

namespace {

constexpr std::string_view block_suffix = ".lz4";

bool is_hex_pair(std::string_view name) noexcept {
  auto const digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return name.size() == 2 && digit(name[0]) && digit(name[1]);
}

std::vector<directory_entry> sorted_entries(file_system& files, std::string const& path,
                                            listing detail = listing::names) {
  auto entries = files.list_directory(path, detail);
  std::sort(entries.begin(), entries.end(),
            [](auto const& a, auto const& b) { return a.name < b.name; });
  return entries;
}

void walk_folder(file_system& files, std::string const& folder, std::string_view expected,
                 listing detail, std::function<void(block_file const&)> const& each) {
  for (auto const& file : sorted_entries(files, folder, detail)) {
    if (file.kind != entry_kind::file || !file.name.starts_with(expected)) continue;
    if (auto const id = block_of_file(file.name)) each({*id, file.size_bytes, file.inode});
  }
}

unsigned number_of(std::string_view hex_pair) noexcept {
  unsigned value = 0;
  (void)std::from_chars(hex_pair.data(), hex_pair.data() + hex_pair.size(), value, 16);
  return value;
}

}  // namespace

std::string store_layout::block_folder(std::string_view hex) const {
  return format("{}{}/{}", prefix_, hex.substr(0, 2), hex.substr(2, 2));
}

std::string store_layout::block(std::string_view hex) const {
  return format("{}{}/{}/{}{}", prefix_, hex.substr(0, 2), hex.substr(2, 2), hex, block_suffix);
}

std::string store_layout::quarantine(std::string_view hex, unsigned copy) const {
  return format("{}quarantine/{}.{}", prefix_, hex, copy);
}

std::optional<block_id> block_of_file(std::string_view name) {
  if (!name.ends_with(block_suffix)) return std::nullopt;
  name.remove_suffix(block_suffix.size());
  return block_id::from_hex(name);
}

void walk_block_files(file_system& files, store_layout const& layout, unsigned first, unsigned last,
                      listing detail, std::function<void(block_file const&)> const& each,
                      folder_filter const& wanted) {
  for (unsigned high = first >> 8; high << 8 < last; ++high) {
    auto const high_name = format("{:02x}", high);
    for (auto const& low : sorted_entries(files, layout.in(high_name))) {
      if (low.kind != entry_kind::directory || !is_hex_pair(low.name)) continue;
      auto const folder = high << 8 | number_of(low.name);
      if (folder < first || folder >= last || (wanted && !wanted(folder))) continue;
      walk_folder(files, layout.in(high_name + "/" + low.name), high_name + low.name, detail, each);
    }
  }
}

std::uint64_t block_file_bytes(file_system& files, store_layout const& layout, block_id const& id) {
  auto const hex = id.hex();
  for (auto const& file : files.list_directory(layout.block_folder(hex), listing::sizes)) {
    if (block_of_file(file.name) == id) return file.size_bytes;
  }
  return 0;
}

}  // namespace diskdump
