#include <string_view>

#include "base/limits.hpp"
#include "store/block_store.hpp"

namespace diskdump {

std::string_view sentence(store_errc e) noexcept {
  switch (e) {
    case store_errc::not_a_store:
      return "this is not a diskdump store";
    case store_errc::unsupported_store:
      return "the store was made by a version of diskdump that this one does not know";
    case store_errc::damaged_block:
      return "a stored block is damaged";
    case store_errc::missing_block:
      return "the store lacks a block";
    case store_errc::damaged_index:
      return "the store's index is damaged";
    case store_errc::index_busy:
      return "another program holds the store's index locked";
    case store_errc::damaged_manifest:
      return "the manifest is damaged";
    case store_errc::no_such_manifest:
      return "there is no such manifest";
    case store_errc::bad_name:
      return "this is no name for a manifest";
    case store_errc::block_size_differs:
      return "the store was made with another block size";
    case store_errc::cannot_write:
      return "the store cannot be written";
    case store_errc::store_full:
      return "the store has no room left";
    case store_errc::cannot_read:
      return "a part of the store cannot be read";
    case store_errc::busy:
      return "another process is at the same work in this store";
  }
  return "unknown store error";
}

std::string_view name_of(store_format which) noexcept {
  return which == store_format::loose ? "loose" : "pack";
}

store_format usual_store_format(std::uint32_t block_bytes) noexcept {
  return block_bytes < limits::loose_block_bytes_min ? store_format::pack : store_format::loose;
}

std::optional<store_format> store_format_of(std::string_view name) noexcept {
  for (auto const which : {store_format::loose, store_format::pack}) {
    if (name == name_of(which)) return which;
  }
  return std::nullopt;
}

}  // namespace diskdump
