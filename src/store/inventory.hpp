// What a store holds, for people: of one image, of the whole store, and between two images. All of
// it reads manifests as streams on several threads; memory is that of block_marks, at most 66 bytes
// a block. Nothing in the store is changed. Blocking.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/manifest.hpp"
#include "store/monitor.hpp"

namespace diskdump {

// When an image was made: its date, or the day of its folder. Seconds since 1970.
[[nodiscard]] std::optional<std::int64_t> manifest_moment(manifest_entry const& entry);

struct unread_manifest {
  std::string path;  // relative to DIR
  std::string why;
};

// ---- One image ----------------------------------------------------------------------------------

struct image_usage {
  manifest_header header;         // with the lines after the digests
  std::uint64_t file_bytes = 0;   // of the manifest
  std::uint64_t blocks_zero = 0;  // of the image's blocks
  std::uint64_t blocks_distinct = 0;
  std::uint64_t blocks_missing = 0;  // of the distinct ones: the store lacks them
  // Of the distinct ones: named by no other manifest, or by one at least.
  std::uint64_t blocks_unique = 0;
  std::uint64_t blocks_shared = 0;
  std::uint64_t stored_bytes = 0;         // compressed, of the distinct ones
  std::uint64_t stored_bytes_unique = 0;  // of those that no other manifest names
  // The lists that hold its digests, which are blocks of the store and not counted above.
  store_stats lists;
  store_stats lists_unique;  // no other manifest names them
  // What these name may be counted as unique.
  std::vector<unread_manifest> others_unread;
};

// `path` as find_manifest() gave it. Throws what manifest_reader and open_store() throw.
[[nodiscard]] image_usage measure_image(std::string const& base, std::string const& path,
                                        unsigned threads, work_monitor& monitor);

// ---- The store ----------------------------------------------------------------------------------

struct store_usage {
  store_properties properties;
  std::vector<manifest_entry> manifests;
  std::vector<unread_manifest> damaged;
  std::uint64_t image_bytes = 0;            // of all manifests
  std::uint64_t blocks_named = 0;           // distinct, without lists
  store_stats lists;                        // that hold the digests of manifests
  std::uint64_t content_bytes = 0;          // of these, not compressed
  store_stats stored;                       // all blocks of the index
  store_stats unnamed;                      // of these, no manifest names them: gc would free them
  std::uint64_t blocks_missing = 0;         // named, or lists, but the store lacks them
  store_stats condemned;                    // by a gc that has not deleted them yet
  std::vector<std::string> running;         // what the held leases are for
  std::uint64_t quarantined = 0;            // files
  std::optional<std::uint64_t> free_bytes;  // of the file system, for this user

  // What the blocks of images take, without lists.
  [[nodiscard]] std::uint64_t stored_bytes_of_images() const noexcept {
    auto const named = stored.stored_bytes - unnamed.stored_bytes;
    return named - std::min(named, lists.stored_bytes);
  }
};

[[nodiscard]] store_usage measure_store(std::string const& base, unsigned threads,
                                        work_monitor& monitor);

// ---- Two images ---------------------------------------------------------------------------------

struct changed_range {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
};

struct image_difference {
  std::uint64_t ranges = 0;
  std::uint64_t bytes = 0;  // in all ranges
  std::uint64_t blocks = 0;
};

// Hands the ranges in which the images differ to `each`, in ascending order, whole blocks joined
// where they touch; what only the longer image has counts as changed. Constant memory. Throws
// block_size_differs where digests cannot be compared.
[[nodiscard]] image_difference compare_images(
    manifest_reader before, manifest_reader after,
    std::function<void(changed_range const&)> const& each);

}  // namespace diskdump
