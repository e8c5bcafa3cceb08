// Lists of digests: blocks of a store that hold the digests of an image's blocks, 32 bytes each and
// limits::list_digests_max to a list. The manifests of stores of packs name these instead of every
// block, so that what an image shares with another is not listed again (FORMAT.md, "Lists").
// Blocking; any thread.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "codec/block_id.hpp"
#include "store/block_store.hpp"

namespace diskdump {

// Whether manifests of this store name lists.
[[nodiscard]] bool keeps_lists(block_store const& store) noexcept;

// Puts the list of these digests into the store, unless it is there, and returns its id. As durable
// as any block: after the next barrier. Throws cannot_write.
// REQUIRES: 1 to limits::list_digests_max digests.
block_id put_list(block_store& store, std::span<block_id const> digests);

// The digests of a list that is stored as `frame`. Throws damaged_block, with the cause alone,
// where it is no list of `id`. At most limits::list_digests_max of them.
[[nodiscard]] std::vector<block_id> decode_list(block_id const& id, byte_view frame);

// How a manifest begins: with digests, or with names of lists.
inline constexpr std::string_view manifest_first_line = "# diskdump manifest v1";
inline constexpr std::string_view manifest_first_line_with_lists = "# diskdump manifest v2";

// How a manifest names a list: 43 characters, base64 of the id without padding.
[[nodiscard]] std::string list_name(block_id const& id);
// nullopt for what list_name() gives for no id.
[[nodiscard]] std::optional<block_id> list_of_name(std::string_view text);

// Where the lists of manifests are read: in a store that is open, or in one that is opened for
// reading when the first list is wanted. Copies share it. Thread-safe.
class list_source {
 public:
  // No store at hand: manifests that name lists can be read no further than their headers.
  list_source() = default;
  // `store` outlives this object and the readers that use it.
  list_source(block_store& store) : store_(&store) {}
  // Of the store in DIR.
  explicit list_source(std::string base);

  // As block_store::get(). Throws what open_store() throws.
  [[nodiscard]] std::optional<byte_vector> get(block_id const& id) const;
  [[nodiscard]] bool is_none() const noexcept { return store_ == nullptr && !later_; }

 private:
  struct opened_later {
    std::string base;
    std::mutex opening;
    std::unique_ptr<block_store> store;
  };

  block_store* store_ = nullptr;
  std::shared_ptr<opened_later> later_;
};

}  // namespace diskdump
